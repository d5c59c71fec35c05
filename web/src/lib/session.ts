/** One open chat: what is known of it, what is being written in it, and what can be done with it.
 *
 * Answers are written on the server, whether anybody listens or not. A session listens, and where the line breaks it
 * attaches again behind what it has. It knows nothing of React; pages subscribe.
 */

import i18n from "i18next";
import { ApiFailure, failureText, get, patch as patchRequest, post, request } from "./api";
import { type ChatEvent, type Conversation, knownOf, merge } from "./events";
import { readEvents } from "./sse";
import { isOpen, newestLeaf } from "./tree";
import type { Attachment, Chat, Message } from "./types";

const SILENT_MS = 25_000; // the server says something every 10 seconds
const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 10_000;
const STOP_TRIES = 6;

export interface Pending {
  text: string;
  attachments: { name: string; size: number }[];
  parent: string | null;
}

export interface View {
  state: Conversation | null;
  loading: boolean;
  /** The chat is not there: deleted, or never this person's. */
  missing: boolean;
  /** A question on its way to the server. */
  pending: Pending | null;
  /** The line is broken and is being mended. */
  lost: boolean;
  problem: string;
  /** For screen readers, apart from the transcript. */
  status: "" | "answering" | "done" | "stopped" | "failed";
}

export interface Question {
  text: string;
  attachments: Attachment[];
  parent: string | null;
  model: string;
  /** Several models that answer side by side. */
  models?: string[];
}

export interface NewChat {
  model: string;
  system: string;
  temporary: boolean;
}

interface Begin {
  path: string;
  body: unknown;
}

const EMPTY: View = {
  state: null, loading: false, missing: false, pending: null, lost: false, problem: "", status: "",
}; // prettier-ignore

export const freshId = () =>
  [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

export class ChatSession {
  private view: View = EMPTY;
  private readonly listeners = new Set<() => void>();
  private readonly shown = new Map<string, number>();
  private readonly frozen = new Set<string>();
  private control: AbortController | null = null;
  private wake: (() => void) | null = null;
  private listening = false;
  private starting = false;
  private closed = false;
  private frame = 0;
  private readonly channel = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel("chatwright");

  /** `id` is null for a chat that the first question makes. */
  constructor(
    public id: string | null,
    private readonly onChat: (chat: Chat) => void,
  ) {
    addEventListener("online", this.hurry);
    document.addEventListener("visibilitychange", this.seen);
    if (this.channel) this.channel.onmessage = (event) => event.data === this.id && void this.refresh();
  }

  subscribe = (listener: () => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  getView = () => this.view;

  get busy(): boolean {
    return this.starting || this.view.pending !== null || (this.view.state?.messages.some(isOpen) ?? false);
  }

  /** The page has shown so much of a message. */
  markShown = (message: string, length: number) => void this.shown.set(message, length);

  close(): void {
    this.closed = true;
    this.control?.abort();
    this.wake?.();
    this.channel?.close();
    removeEventListener("online", this.hurry);
    document.removeEventListener("visibilitychange", this.seen);
  }

  async open(): Promise<void> {
    if (this.id === null) return;
    this.set({ loading: true });
    await this.refresh();
    this.set({ loading: false });
  }

  /** Reads the chat again; what another page did appears, and what is being written is listened to. */
  async refresh(): Promise<void> {
    if (this.id === null || this.closed) return;
    try {
      const found = await get<Conversation>(`/api/chats/${this.id}`);
      if (this.closed) return;
      const known = new Map(this.view.state?.messages.map((message) => [message.id, message]));
      const messages = found.messages.map((message) => newer(known.get(message.id), message));
      this.set({ state: { chat: found.chat, messages }, problem: "", missing: false });
      if (messages.some(isOpen)) void this.listen(null);
    } catch (error) {
      if (this.closed) return;
      if (error instanceof ApiFailure && error.status === 404) this.set({ missing: true, state: null });
      else this.set({ problem: failureText(error) });
    }
  }

  /** Asks; true once the server has the question. Where it does not take it, the reason is shown. */
  async ask(question: Question, fresh: NewChat): Promise<boolean> {
    if (this.busy) return false;
    this.starting = true;
    const { text, parent } = question;
    const attachments = question.attachments.map(({ name, text: said }) => ({ name, size: said.length }));
    this.set({ pending: { text, attachments, parent }, problem: "", status: "answering" });
    try {
      if (this.id === null) {
        const chat = await post<Chat>("/api/chats", fresh);
        if (this.closed) return false;
        this.id = chat.id;
        this.set({ state: { chat, messages: [] } });
        this.onChat(chat);
      }
    } catch (error) {
      this.set({ pending: null, problem: failureText(error), status: "failed" });
      return false;
    } finally {
      this.starting = false;
    }
    const { models = [] } = question;
    const asked = models.length > 1 ? { models } : { model: models[0] ?? question.model };
    return this.listen({
      path: `/api/chats/${this.id}/turns`,
      body: { id: freshId(), parent, text, attachments: question.attachments, ...asked },
    });
  }

  /** Another answer to the same question; with "continue", the rest of one that broke off. */
  async again(message: string, how: "regenerate" | "continue", model = ""): Promise<boolean> {
    if (this.busy || this.id === null) return false;
    this.starting = true;
    this.set({ problem: "", status: "answering" });
    return this.listen({ path: `/api/chats/${this.id}/messages/${message}/${how}`, body: { id: freshId(), model } });
  }

  /** Ends what is being written, at what this page has shown of it. */
  async stop(): Promise<void> {
    const { state, pending } = this.view;
    if (pending && !state?.messages.some(isOpen)) {
      this.set({ pending: null, status: "stopped" });
      this.control?.abort();
      this.wake?.();
      return;
    }
    await Promise.all((state?.messages ?? []).filter(isOpen).map((message) => this.stopOne(message)));
  }

  private async stopOne(message: Message): Promise<void> {
    const seen = Math.min(this.shown.get(message.id) ?? 0, message.content.length);
    this.frozen.add(message.id);
    this.place({ ...message, content: message.content.slice(0, seen), status: "stopped", detail: "stop" });
    this.set({ status: "stopped" });
    for (let tries = 1; !this.closed; tries++) {
      try {
        this.place(await post<Message>(`/api/chats/${this.id}/messages/${message.id}/stop`, { seen }));
        return this.tell();
      } catch (error) {
        if (tries < STOP_TRIES && error instanceof ApiFailure && error.passing) await this.pause(tries);
        else return this.set({ problem: failureText(error) });
      }
    }
  }

  /** Shows another branch, and keeps that it is shown. */
  async show(message: string): Promise<void> {
    const { state } = this.view;
    if (!state || this.id === null) return;
    const leaf = newestLeaf(state.messages, message);
    this.set({ state: { ...state, chat: { ...state.chat, leaf } } });
    try {
      await patchRequest(`/api/chats/${this.id}`, { leaf });
      this.tell();
    } catch (error) {
      this.set({ problem: failureText(error) });
    }
  }

  /** Changes the chat itself; rejects where the server does not take it. */
  async change(values: Partial<Chat>): Promise<void> {
    if (this.id === null) return;
    const chat = await patchRequest<Chat>(`/api/chats/${this.id}`, values);
    const { state } = this.view;
    if (state) this.set({ state: { ...state, chat: { ...chat, leaf: state.chat.leaf } } });
    this.onChat(chat);
  }

  /** Takes what the server said of one message (a rating, a flag). */
  place(message: Message): void {
    const { state } = this.view;
    if (state) this.set({ state: merge(state, { event: "end", message }).state });
  }

  dismiss = () => this.set({ problem: "" });

  private async listen(begin: Begin | null): Promise<boolean> {
    if (this.listening && begin === null) return true;
    this.listening = true;
    let accepted = begin === null;
    let tries = 0;
    try {
      while (!this.closed) {
        const control = new AbortController();
        this.control = control;
        try {
          const answer = await this.openLine(accepted ? null : begin, control);
          this.starting = false;
          const done = await this.take(answer, control, () => {
            accepted = true;
            tries = 0;
          });
          if (done && accepted) return true;
        } catch (error) {
          if (this.refused(error, accepted)) return accepted;
        }
        if (this.closed || (!accepted && !this.view.pending && this.view.status === "stopped")) return accepted;
        if (accepted && !this.view.state?.messages.some(isOpen)) return true;
        if (tries > 0) this.set({ lost: true });
        await this.pause(tries++);
      }
      return accepted;
    } finally {
      this.listening = this.starting = false;
      this.set({ lost: false, pending: null });
      this.sayHowItEnded();
      if (!this.closed && this.view.state?.messages.some(isOpen)) void this.listen(null);
    }
  }

  private openLine(begin: Begin | null, control: AbortController): Promise<Response> {
    if (begin) return request(begin.path, { method: "POST", body: begin.body, signal: control.signal });
    const from = encodeURIComponent(knownOf(this.view.state?.messages ?? []));
    return request(`/api/chats/${this.id}/stream?from=${from}`, { signal: control.signal });
  }

  /** Whether there is no sense in trying again. */
  private refused(error: unknown, accepted: boolean): boolean {
    if (this.closed) return true;
    if (!(error instanceof ApiFailure)) return false; // the line broke
    if (accepted ? error.passing : error.status === 0) return false;
    this.set({ problem: error.message, status: "failed" });
    return true;
  }

  /** Reads events to their end; false where the line broke or a piece is missing. */
  private async take(answer: Response, control: AbortController, taken: () => void): Promise<boolean> {
    if (!answer.body) return false;
    let timer = 0;
    const alive = () => {
      clearTimeout(timer);
      timer = window.setTimeout(() => control.abort(), SILENT_MS);
    };
    alive();
    try {
      for await (const { event, data } of readEvents(answer.body, alive)) {
        const said = { ...(JSON.parse(data) as object), event } as ChatEvent;
        if (this.closed) return false;
        if (said.event === "done") return true;
        if (!this.view.state) continue;
        const { state, gap } = merge(this.view.state, said, this.frozen);
        if (gap !== null) return false;
        taken();
        this.accept(said, state);
      }
      return false;
    } finally {
      clearTimeout(timer);
    }
  }

  private accept(said: ChatEvent, state: Conversation): void {
    if (said.event === "text") return this.set({ state, lost: false }, true);
    if (said.event === "end" && this.frozen.has(said.message.id) && said.message.status !== "stopped") return;
    this.set({ state, lost: false, ...(said.event === "turn" ? { pending: null, status: "answering" } : {}) });
    if (said.event === "turn") this.onChat(state.chat);
    this.tell();
  }

  private sayHowItEnded(): void {
    if (this.view.status !== "answering" || this.closed) return;
    const last = this.view.state?.messages.filter((message) => message.role === "assistant").at(-1);
    const status = !last || last.status === "done" ? "done" : last.status === "stopped" ? "stopped" : "failed";
    this.set({ status });
    if (this.view.state) this.onChat(this.view.state.chat);
  }

  private pause(tries: number): Promise<void> {
    const wait = Math.min(FIRST_WAIT_MS * 2 ** tries, LONGEST_WAIT_MS) * (0.75 + Math.random() / 2);
    return new Promise((resolve) => {
      const go = () => {
        clearTimeout(timer);
        this.wake = null;
        resolve();
      };
      const timer = window.setTimeout(go, wait);
      this.wake = go;
    });
  }

  private hurry = () => this.wake?.();

  private seen = () => {
    if (document.visibilityState !== "visible") return;
    this.hurry();
    if (!this.listening && this.view.state) void this.refresh();
  };

  /** Other pages of this browser read the chat again. */
  private tell = () => {
    try {
      this.channel?.postMessage(this.id);
    } catch {
      // The channel is closed with the session.
    }
  };

  /** `soon` shows the change with the next frame: text may come faster than that. */
  private set(values: Partial<View>, soon = false): void {
    this.view = { ...this.view, ...values };
    if (!soon || document.visibilityState !== "visible") return this.notify();
    this.frame ||= requestAnimationFrame(this.notify);
  }

  private notify = () => {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    for (const listener of this.listeners) listener();
  };
}

/** Of two states of one message the one that knows more; what has ended does not begin again. */
function newer(known: Message | undefined, found: Message): Message {
  if (!known || !isOpen(found)) return sameAs(known, found) ? known : found;
  if (!isOpen(known)) return known;
  return known.content.length >= found.content.length ? known : found;
}

/** Keeps the identity of what did not change, so that it is not drawn again. */
const sameAs = (known: Message | undefined, found: Message): known is Message =>
  known !== undefined && JSON.stringify(known) === JSON.stringify(found);

export const statusText = (status: View["status"]) => (status ? i18n.t(`status.${status}`) : "");
