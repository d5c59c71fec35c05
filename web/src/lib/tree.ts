/** A chat as a tree of messages, and the branch of it that is shown. Pure. */

import type { Message } from "./types";

/** Messages by parent, in order of creation. */
export type Children = Map<string | null, Message[]>;

export function childrenOf(messages: readonly Message[]): Children {
  const children: Children = new Map();
  for (const message of messages) {
    const row = children.get(message.parent);
    if (row) row.push(message);
    else children.set(message.parent, [message]);
  }
  return children;
}

/** From the first message to `leaf`; without a leaf that exists, to the newest message. */
export function branchTo(messages: readonly Message[], leaf: string | null): Message[] {
  const byId = new Map(messages.map((message) => [message.id, message]));
  let at = (leaf === null ? undefined : byId.get(leaf)) ?? messages.at(-1);
  const branch: Message[] = [];
  const seen = new Set<string>();
  while (at && !seen.has(at.id)) {
    seen.add(at.id);
    branch.push(at);
    at = at.parent === null ? undefined : byId.get(at.parent);
  }
  return branch.reverse();
}

/** The end of the branch that goes on from `id` by the newest message each time. */
export function newestLeaf(messages: readonly Message[], id: string): string {
  const children = childrenOf(messages);
  let at = id;
  for (let steps = 0; steps <= messages.length; steps++) {
    const next = children.get(at)?.at(-1);
    if (!next) return at;
    at = next.id;
  }
  return at;
}

export interface Variants {
  /** Messages that could stand here, this one among them. */
  all: Message[];
  index: number;
}

export function variantsOf(children: Children, message: Message): Variants {
  const all = (children.get(message.parent) ?? []).filter((one) => one.role === message.role);
  return { all, index: all.findIndex((one) => one.id === message.id) };
}

/** Answers that were asked for at once (several models, or two to choose from); only this one where it was alone. */
export function together(children: Children, message: Message): Message[] {
  if (message.role !== "assistant") return [message];
  const found = (children.get(message.parent) ?? []).filter(
    (one) => one.role === "assistant" && one.turn === message.turn,
  );
  if (found.length < 2) return [message];
  return found.every((one) => one.comparison)
    ? [...found].sort((a, b) => Number(a.comparison?.side === "right") - Number(b.comparison?.side === "right"))
    : found;
}

export const isOpen = (message: Message) => message.status === "streaming";
