import type { Message } from "./types";

/** A message for tests; an id that begins with "u" is the person's. */
export const message = (id: string, parent: string | null, values: Partial<Message> = {}): Message => ({
  id, parent, role: id.startsWith("u") ? "user" : "assistant", content: id, created: "", status: "done", model: "ppo",
  version: "ppo-1", detail: "stop", dropped: 0, turn: id, attachments: [], ...values,
}); // prettier-ignore
