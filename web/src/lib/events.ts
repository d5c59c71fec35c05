/** What the server says of a chat, merged into what is known of it. Pure. */

import type { Chat, Message } from "./types";

export interface Conversation {
  chat: Chat;
  /** In order of creation. */
  messages: Message[];
}

export type ChatEvent =
  | { event: "turn"; user: Message | null; answers: Message[]; chat: Chat }
  | { event: "text"; message: string; at: number; text: string }
  | { event: "end"; message: Message }
  | { event: "done" };

export type Merged = { state: Conversation; /** The message of which a piece is missing. */ gap: string | null };

/** `state` with an event in it. Pieces are told apart by their offset: what is known already adds nothing. */
export function merge(state: Conversation, event: ChatEvent, frozen: ReadonlySet<string> = new Set()): Merged {
  switch (event.event) {
    case "turn":
      return whole(withTurn(state, event));
    case "text":
      return withText(state, event, frozen);
    case "end":
      return whole({ ...state, messages: placed(state.messages, event.message) });
    case "done":
      return whole(state);
  }
}

const whole = (state: Conversation): Merged => ({ state, gap: null });

function withTurn(state: Conversation, event: Extract<ChatEvent, { event: "turn" }>): Conversation {
  let messages = state.messages;
  for (const message of [...(event.user ? [event.user] : []), ...event.answers]) {
    const known = messages.find((one) => one.id === message.id);
    // The same turn asked for again says how its answers began; what has come since is not taken back.
    if (known && known.content.length > message.content.length) continue;
    messages = placed(messages, message);
  }
  return { chat: event.chat, messages };
}

function withText(
  state: Conversation,
  { message: id, at, text }: Extract<ChatEvent, { event: "text" }>,
  frozen: ReadonlySet<string>,
): Merged {
  const message = state.messages.find((one) => one.id === id);
  if (!message || frozen.has(id)) return whole(state);
  const known = message.content.length;
  if (at > known) return { state, gap: id };
  const fresh = text.slice(known - at);
  if (!fresh) return whole(state);
  return whole({ ...state, messages: placed(state.messages, { ...message, content: message.content + fresh }) });
}

function placed(messages: readonly Message[], message: Message): Message[] {
  const at = messages.findIndex((one) => one.id === message.id);
  return at < 0 ? [...messages, message] : messages.with(at, message);
}

/** How much of each answer that is being written is known, as the stream's `from` wants it. */
export function knownOf(messages: readonly Message[]): string {
  return messages
    .filter((message) => message.status === "streaming")
    .map((message) => `${message.id}:${message.content.length}`)
    .join(",");
}
