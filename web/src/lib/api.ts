import { readEvents } from "./sse";

export interface Model {
  id: string;
  metadata: {
    name: string;
    role: string;
    default: boolean;
    state: "waiting" | "starting" | "ready" | "restarting" | "stopped";
    reason: string;
    parameters: number;
    source: string;
  };
}

export interface ChatMessage {
  role: "system" | "user" | "assistant";
  content: string;
}

export interface Finished {
  reason: string;
  /** Old turns that no longer fit the model's context. */
  dropped: number;
}

/** A refusal or failure in one sentence a person can read. */
export class ApiFailure extends Error {}

const UNREACHABLE = "Chatwright cannot be reached. Is it still running?";

async function get<T>(path: string): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(path);
  } catch {
    throw new ApiFailure(UNREACHABLE);
  }
  if (!answer.ok) throw await failureOf(answer);
  return (await answer.json()) as T;
}

export const fetchModels = async () => (await get<{ data: Model[] }>("/v1/models")).data;
export const fetchStarters = async () => (await get<{ starters: string[] }>("/api/starters")).starters;

async function failureOf(answer: Response): Promise<ApiFailure> {
  const body: unknown = await answer.json().catch(() => null);
  const message = (body as { error?: { message?: unknown } } | null)?.error?.message;
  return new ApiFailure(typeof message === "string" ? message : `The server answered ${answer.status}.`);
}

interface Chunk {
  choices?: { delta?: { content?: string | null }; finish_reason?: string | null }[];
  error?: { message?: string };
}

/** Streams one answer; `onText` gets each new piece. Throws ApiFailure, or AbortError once `signal` fires. */
export async function streamChat(
  model: string,
  messages: ChatMessage[],
  signal: AbortSignal,
  onText: (text: string) => void,
): Promise<Finished> {
  let answer: Response;
  try {
    answer = await fetch("/v1/chat/completions", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ model, messages, stream: true, truncation: "auto" }),
      signal,
    });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ApiFailure(UNREACHABLE);
  }
  if (!answer.ok || !answer.body) throw await failureOf(answer);
  const dropped = Number(answer.headers.get("x-chatwright-dropped-turns") ?? 0);
  let reason: string | null = null;
  try {
    for await (const data of readEvents(answer.body)) {
      if (data === "[DONE]") break;
      const chunk = JSON.parse(data) as Chunk;
      if (chunk.error) throw new ApiFailure(chunk.error.message ?? "The answer broke off.");
      const choice = chunk.choices?.[0];
      if (choice?.delta?.content) onText(choice.delta.content);
      reason = choice?.finish_reason ?? reason;
    }
  } catch (error) {
    if (signal.aborted || error instanceof ApiFailure) throw error;
    throw new ApiFailure("The connection broke off in the middle of the answer.");
  }
  if (signal.aborted) throw new DOMException("stopped", "AbortError");
  if (reason === null) throw new ApiFailure("The answer broke off before its end.");
  return { reason, dropped };
}
