import { expect, test } from "vitest";
import { type ChatEvent, type Conversation, knownOf, merge } from "./events";
import { message } from "./sample.test.data";
import type { Chat } from "./types";

const CHAT = { id: "c", title: "t", leaf: null } as Chat;
const START: Conversation = { chat: CHAT, messages: [] };
const TURN: ChatEvent = {
  event: "turn", user: message("u", null), chat: { ...CHAT, leaf: "a" },
  answers: [message("a", "u", { content: "", status: "streaming" })],
}; // prettier-ignore
const all = (...events: ChatEvent[]) => events.reduce((state, event) => merge(state, event).state, START);
const text = (at: number, said: string): ChatEvent => ({ event: "text", message: "a", at, text: said });

test("pieces are joined in their order", () => {
  const state = all(TURN, text(0, "You "), text(4, "said"));
  expect(state.messages[1]?.content).toBe("You said");
  expect(state.chat.leaf).toBe("a");
  expect(knownOf(state.messages)).toBe("a:8");
});

test("what is repeated adds nothing, and an overlap only its new part", () => {
  expect(all(TURN, text(0, "abc"), text(0, "abc"), text(1, "bcd"), text(0, "ab")).messages[1]?.content).toBe("abcd");
});

test("a gap changes nothing and is told", () => {
  const state = all(TURN, text(0, "abc"));
  const merged = merge(state, text(5, "fgh"));
  expect(merged.gap).toBe("a");
  expect(merged.state).toBe(state);
});

test("offsets count as a page counts: an emoji is two", () => {
  expect(all(TURN, text(0, "a👋"), text(3, "b")).messages[1]?.content).toBe("a👋b");
});

test("however a stream is cut and attached again, the text is the same", () => {
  const whole = "You said: hello 👋 there, and so on";
  for (let cut = 0; cut <= whole.length; cut++) {
    for (const from of [0, Math.max(0, cut - 3), cut]) {
      const state = all(TURN, text(0, whole.slice(0, cut)), text(from, whole.slice(from)));
      expect(state.messages[1]?.content).toBe(whole);
    }
  }
});

test("the end of an answer replaces what was gathered, and the same turn again takes nothing back", () => {
  const ended = merge(all(TURN, text(0, "abc")), { event: "end", message: message("a", "u", { content: "ab", status: "stopped" }) });
  expect(ended.state.messages[1]).toMatchObject({ content: "ab", status: "stopped" });
  expect(all(TURN, text(0, "abc"), TURN).messages.map((one) => one.content)).toEqual(["u", "abc"]);
});

test("a message that was stopped here takes no more text", () => {
  const state = all(TURN, text(0, "abc"));
  expect(merge(state, text(3, "def"), new Set(["a"])).state).toBe(state);
});
