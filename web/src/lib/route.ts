/** Pages by hash: #/chat/ID, #/settings/data, … */

export interface Route {
  page: "" | "chat" | "build" | "settings" | "operator" | "shared" | "setup" | "invitation" | "sign-in";
  parts: string[];
}

const PAGES = new Set(["chat", "build", "settings", "operator", "shared", "setup", "invitation", "sign-in"]);

export function routeOf(hash: string): Route {
  const [page = "", ...rest] = hash.replace(/^#\/?/, "").split("/").filter(Boolean);
  if (!PAGES.has(page)) return { page: "", parts: [] };
  return { page: page as Route["page"], parts: rest.map(decoded) };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
