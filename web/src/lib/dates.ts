/** The history in groups of days and months. Pure; `now` is given. */

import type { Chat } from "./types";

export type Group =
  | { kind: "pinned" | "today" | "yesterday" | "week"; chats: Chat[] }
  | { kind: "month"; /** The first day of it. */ month: Date; chats: Chat[] };

const DAYS = 7;

export const dayOf = (time: Date) => new Date(time.getFullYear(), time.getMonth(), time.getDate());

/** Pinned chats, then today, yesterday, the seven days before, then by months; what a wrong clock puts in the future is today's. */
export function grouped(chats: readonly Chat[], now: Date): Group[] {
  const today = dayOf(now);
  const back = (days: number) => new Date(today.getFullYear(), today.getMonth(), today.getDate() - days);
  const groups = new Map<string, Group>();
  const put = (key: string, make: () => Group, chat: Chat) => {
    const group = groups.get(key) ?? make();
    group.chats.push(chat);
    groups.set(key, group);
  };
  const newest = [...chats].sort((a, b) => b.changed.localeCompare(a.changed));
  for (const chat of newest.filter((one) => one.pinned)) put("pinned", () => ({ kind: "pinned", chats: [] }), chat);
  for (const chat of newest.filter((one) => !one.pinned)) {
    const time = new Date(chat.changed);
    if (time >= today) put("today", () => ({ kind: "today", chats: [] }), chat);
    else if (time >= back(1)) put("yesterday", () => ({ kind: "yesterday", chats: [] }), chat);
    else if (time >= back(1 + DAYS)) put("week", () => ({ kind: "week", chats: [] }), chat);
    else {
      const month = new Date(time.getFullYear(), time.getMonth(), 1);
      put(`${month.getTime()}`, () => ({ kind: "month", month, chats: [] }), chat);
    }
  }
  return [...groups.values()];
}
