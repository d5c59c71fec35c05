import i18n from "i18next";
import type { Me, Model } from "./types";

/** A refusal or failure in one sentence a person can read. `status` is 0 where the server was not reached. */
export class ApiFailure extends Error {
  constructor(
    message: string,
    readonly status = 0,
    readonly code = "",
  ) {
    super(message);
  }

  /** Whether the same request may work in a moment. */
  get passing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

type Listener = () => void;
const signedOut = new Set<Listener>();

/** Calls `listener` whenever the server says that nobody is signed in any more. */
export function onSignedOut(listener: Listener): Listener {
  signedOut.add(listener);
  return () => signedOut.delete(listener);
}

export interface Request {
  method?: string;
  body?: unknown;
  signal?: AbortSignal;
}

/** A response that is in order; throws ApiFailure for every other. */
export async function request(path: string, { method = "GET", body, signal }: Request = {}): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, {
      method,
      credentials: "same-origin",
      ...(body === undefined ? {} : { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }),
      ...(signal ? { signal } : {}),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiFailure(i18n.t("errors.unreachable"));
  }
  if (answer.ok) return answer;
  const failure = await failureOf(answer);
  if (failure.status === 401 && failure.code === "not_signed_in") for (const listener of signedOut) listener();
  throw failure;
}

export async function call<T>(path: string, options: Request = {}): Promise<T> {
  const answer = await request(path, options);
  return answer.status === 204 ? (undefined as T) : ((await answer.json()) as T);
}

export const get = <T>(path: string) => call<T>(path);
export const post = <T>(path: string, body: unknown = {}) => call<T>(path, { method: "POST", body });
export const put = <T>(path: string, body: unknown) => call<T>(path, { method: "PUT", body });
export const patch = <T>(path: string, body: unknown) => call<T>(path, { method: "PATCH", body });
export const remove = <T>(path: string, body?: unknown) => call<T>(path, { method: "DELETE", body });

/** What is behind `path`, or `fallback` where this server does not offer it. */
export async function offered<T>(path: string, fallback: T): Promise<T> {
  try {
    return await get<T>(path);
  } catch (error) {
    if (error instanceof ApiFailure && (error.status === 404 || error.status === 405)) return fallback;
    throw error;
  }
}

async function failureOf(answer: Response): Promise<ApiFailure> {
  const body: unknown = await answer.json().catch(() => null);
  const error = (body as { error?: { message?: unknown; code?: unknown } } | null)?.error;
  const message = typeof error?.message === "string" ? error.message : i18n.t("errors.status", { status: answer.status });
  return new ApiFailure(sentence(message), answer.status, typeof error?.code === "string" ? error.code : "");
}

/** The server writes its sentences as parts of a log line; people read them with a capital and a stop. */
export function sentence(text: string): string {
  const whole = text.trim();
  if (!whole) return whole;
  return whole[0]?.toUpperCase() + whole.slice(1) + (/[.!?…]$/.test(whole) ? "" : ".");
}

export const failureText = (error: unknown) =>
  error instanceof ApiFailure ? error.message : i18n.t("errors.page");

interface Listed {
  id: string;
  metadata: Omit<Model, "id" | "card">;
}

/** The models the person may use. */
export async function fetchModels(): Promise<Model[]> {
  const found = await offered<Model[] | { data: Model[] } | null>("/api/models", null);
  if (found !== null) return Array.isArray(found) ? found : found.data;
  return (await get<{ data: Listed[] }>("/v1/models")).data.map(({ id, metadata }) => ({ id, ...metadata }));
}

export const fetchStarters = async () => (await get<{ starters: string[] }>("/api/starters")).starters;

/** Who is here; null where the server has no accounts at all. */
export const fetchMe = () => offered<Me | null>("/api/me", null);
