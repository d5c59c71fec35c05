/** A conversation with one model or several side by side: a pure reducer and what is sent to each model. */

import type { ChatMessage } from "./api";

export interface Answer {
  model: string;
  name: string;
  text: string;
  status: "waiting" | "streaming" | "done" | "stopped" | "error";
  /** Why generation ended ("stop", "length"), or the sentence of an error. */
  detail: string;
  dropped: number;
}

export interface Turn {
  id: string;
  user: string;
  answers: Answer[];
}

export type Action =
  | { type: "ask"; turn: Turn }
  | { type: "retry"; turn: string; model: string }
  | { type: "text"; turn: string; model: string; text: string }
  | { type: "end"; turn: string; model: string; status: "done" | "stopped" | "error"; detail: string; dropped?: number }
  | { type: "clear" };

export function conversation(turns: Turn[], action: Action): Turn[] {
  switch (action.type) {
    case "clear":
      return [];
    case "ask":
      return [...turns, action.turn];
    case "retry":
      return change(turns, action, () => ({ text: "", status: "waiting", detail: "", dropped: 0 }));
    case "text":
      return change(turns, action, (answer) => ({ text: answer.text + action.text, status: "streaming" }));
    case "end":
      return change(turns, action, () => ({
        status: action.status,
        detail: action.detail,
        dropped: action.dropped ?? 0,
      }));
  }
}

function change(turns: Turn[], at: { turn: string; model: string }, what: (answer: Answer) => Partial<Answer>): Turn[] {
  return turns.map((turn) =>
    turn.id !== at.turn
      ? turn
      : {
          ...turn,
          answers: turn.answers.map((answer) => (answer.model === at.model ? { ...answer, ...what(answer) } : answer)),
        },
  );
}

/** What `model` is sent for the turn at `index`: its own earlier answers, and where it gave none, the first given. */
export function messagesFor(turns: Turn[], index: number, model: string): ChatMessage[] {
  const messages: ChatMessage[] = [];
  for (const turn of turns.slice(0, index)) {
    const usable = turn.answers.filter((answer) => answer.text && answer.status !== "error");
    const answer = usable.find((one) => one.model === model) ?? usable[0];
    if (answer) messages.push({ role: "user", content: turn.user }, { role: "assistant", content: answer.text });
  }
  const asked = turns[index];
  if (asked) messages.push({ role: "user", content: asked.user });
  return messages;
}

export const isBusy = (turns: Turn[]) =>
  turns.some((turn) => turn.answers.some((answer) => answer.status === "waiting" || answer.status === "streaming"));

const KEY = "chatwright.conversation.1";

/** The conversation kept by this browser; what was streaming when the page closed counts as stopped. */
export function loadTurns(storage: Storage): Turn[] {
  try {
    const turns: unknown = JSON.parse(storage.getItem(KEY) ?? "[]");
    if (!Array.isArray(turns)) return [];
    return (turns as Turn[]).map((turn) => ({
      ...turn,
      answers: turn.answers.map((answer) =>
        answer.status === "waiting" || answer.status === "streaming" ? { ...answer, status: "stopped" } : answer,
      ),
    }));
  } catch {
    return [];
  }
}

export function saveTurns(storage: Storage, turns: Turn[]): void {
  try {
    storage.setItem(KEY, JSON.stringify(turns));
  } catch {
    // A full or forbidden storage only means that a reload starts afresh.
  }
}

const LABELS: Record<string, { title: string; about: string }> = {
  base: { title: "Base", about: "has only read text" },
  sft: { title: "Fine-tuned", about: "was shown good answers" },
  ppo: { title: "Aligned · PPO", about: "was rewarded for answers people prefer" },
  dpo: { title: "Aligned · DPO", about: "learned from pairs of answers" },
  assistant: { title: "Assistant", about: "the best of this build" },
};

export const modelTitle = (name: string) => LABELS[name]?.title ?? name;
export const modelAbout = (name: string, role: string) => LABELS[name]?.about ?? role;
