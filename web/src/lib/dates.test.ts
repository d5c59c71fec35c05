import { expect, test } from "vitest";
import { grouped } from "./dates";
import type { Chat } from "./types";

const NOW = new Date(2026, 10, 22, 15, 0);
const chat = (id: string, changed: Date, pinned = false) => ({ id, changed: changed.toISOString(), pinned }) as Chat;
const shape = (chats: Chat[]) => grouped(chats, NOW).map((group) => [group.kind, group.chats.map((one) => one.id).join()]);

test("chats stand by day, then by month, newest first", () => {
  const rows = [
    chat("now", NOW), chat("midnight", new Date(2026, 10, 22)), chat("late", new Date(2026, 10, 21, 23, 59)),
    chat("week", new Date(2026, 10, 14)), chat("november", new Date(2026, 10, 13, 23)), chat("july", new Date(2026, 6, 3)),
    chat("last year", new Date(2025, 10, 22)),
  ]; // prettier-ignore
  expect(shape(rows.toReversed())).toEqual([
    ["today", "now,midnight"], ["yesterday", "late"], ["week", "week"], ["month", "november"], ["month", "july"], ["month", "last year"],
  ]); // prettier-ignore
});

test("pinned chats stand above all, whatever their age", () => {
  expect(shape([chat("a", NOW), chat("b", new Date(2024, 1, 1), true)])).toEqual([["pinned", "b"], ["today", "a"]]);
});

test("a clock that is wrong puts a chat into today, not nowhere", () => {
  expect(shape([chat("future", new Date(2031, 0, 1))])).toEqual([["today", "future"]]);
});

test("days are days of the calendar where clocks change", () => {
  const march = new Date(2026, 2, 30, 0, 30);
  expect(grouped([chat("a", new Date(2026, 2, 29, 0, 10))], march)[0]?.kind).toBe("yesterday");
});
