/** What the server says, as it says it. Times are ISO 8601. */

export interface Chat {
  id: string;
  title: string;
  titled: boolean;
  created: string;
  changed: string;
  pinned: boolean;
  archived: boolean;
  temporary: boolean;
  system: string;
  model: string;
  training: boolean | null;
  leaf: string | null;
}

export type MessageStatus = "done" | "streaming" | "stopped" | "interrupted" | "failed";
export type Choice = "left" | "right" | "tie" | "both_bad";

export interface Rating {
  value: -1 | 0 | 1;
  tags: string[];
  text: string;
}

export interface Message {
  id: string;
  parent: string | null;
  role: "user" | "assistant";
  content: string;
  created: string;
  status: MessageStatus;
  model: string;
  version: string;
  /** Why it ended ("stop", "length"), or the sentence of an error. */
  detail: string;
  /** Old turns that no longer fit the model's context. */
  dropped: number;
  turn: string;
  attachments: { name: string; size: number }[];
  /** Left out by a server that does not listen. */
  rating?: Rating | null;
  flagged?: boolean;
  comparison?: { id: string; side: "left" | "right"; settled: Choice | null } | null;
}

export interface Attachment {
  name: string;
  text: string;
}

export interface ModelCard {
  kind?: string;
  created?: string;
  parents?: string[];
  figures?: Record<string, number | string>;
}

export interface Model {
  id: string;
  name: string;
  role: string;
  default: boolean;
  state: "waiting" | "starting" | "ready" | "restarting" | "stopped";
  reason: string;
  parameters: number;
  source: string;
  card?: ModelCard;
}

export type Language = "" | "en" | "es" | "fr" | "de" | "zh" | "ar";
export type Theme = "auto" | "light" | "dark";
export type Role = "user" | "labeller" | "operator" | "admin";

export interface Settings {
  language: Language;
  theme: Theme;
  instructions: string;
  about: string;
  memory: boolean;
  training: boolean;
  remote_images: "ask" | "never";
}

export interface Person {
  id: string;
  name: string;
  email: string;
  role: Role;
  groups: string[];
  created: string;
  /** Whether it signs in with a password of its own. */
  password?: boolean;
}

export interface Me {
  mode: "local" | "people";
  setup: boolean;
  signed_in: boolean;
  sign_in: { password: boolean; oidc: { name: string } | null };
  person: Person | null;
  settings: Settings;
  version?: string;
}

export interface Page<T> {
  data: T[];
  next?: string | null;
}

export interface SearchHit {
  chat: Chat;
  message: string | null;
  snippet: string;
  at: string;
}

export interface Share {
  id: string;
  chat: string;
  title: string;
  created: string;
}

export interface Memory {
  id: string;
  text: string;
  created: string;
  chat: string | null;
}
