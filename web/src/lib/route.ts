/** Pages by hash: #/chat/ID, #/settings/data, … */

export interface Route {
  page: "" | "chat" | "build" | "settings" | "operator" | "shared" | "setup" | "invitation" | "sign-in";
  parts: string[];
  query: URLSearchParams;
}

const PAGES = new Set(["chat", "build", "settings", "operator", "shared", "setup", "invitation", "sign-in"]);

export function routeOf(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [page = "", ...rest] = path.split("/").filter(Boolean);
  if (!PAGES.has(page)) return { page: "", parts: [], query: new URLSearchParams() };
  return { page: page as Route["page"], parts: rest.map(decoded), query: new URLSearchParams(query) };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
