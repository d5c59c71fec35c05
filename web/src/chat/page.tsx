import { type DragEvent, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { useCommon } from "../context";
import { call, fetchStarters, post } from "../lib/api";
import { statusText } from "../lib/session";
import { branchTo } from "../lib/tree";
import type { Attachment, Chat, Message } from "../lib/types";
import { Dialog } from "../ui/dialog";
import { inText } from "../ui/shortcuts";
import { useToast } from "../ui/toast";
import { copyText, useMedia } from "../ui/use";
import { ChatBar } from "./bar";
import { useChatDeeds } from "./chat-deeds";
import { Composer, type ComposerHandle } from "./composer";
import { ChatSettings, DetailsDialog, FlagDialog } from "./dialogs";
import type { Deeds } from "./message";
import { useOutside } from "./outside";
import { Sidebar } from "./sidebar";
import { Transcript } from "./transcript";
import { useHistory } from "./use-history";
import { useSession } from "./use-session";
import { Welcome } from "./welcome";

interface Props {
  id: string | null;
  /** A message to show, found by a search. */
  wanted: string | undefined;
}

type Open = { kind: "details" | "flag"; message: Message } | { kind: "settings" } | null;

const SIDEBAR_KEY = "chatwright.sidebar";

export function ChatPage({ id, wanted }: Props) {
  const { t } = useTranslation();
  const { models, modelProblem, reloadModels, me, settings } = useCommon();
  const say = useToast();
  const history = useHistory();
  const input = useRef<ComposerHandle>(null);
  const [fresh, setFresh] = useState({ model: "", system: "", temporary: false });
  const [compare, setCompare] = useState<string[] | null>(null);
  const [starters, setStarters] = useState<string[]>([]);
  const [open, setOpen] = useState<Open>(null);
  const narrow = useMedia("(max-width: 860px)");
  const [drawer, setDrawer] = useState(false);
  const [beside, setBeside] = useState(() => localStorage.getItem(SIDEBAR_KEY) !== "closed");

  const onChat = useCallback(
    (chat: Chat) => {
      history.put(chat);
      if (location.hash === "#/chat" || !/^#\/chat\//.test(location.hash)) location.replace(`#/chat/${chat.id}`);
    },
    [history.put],
  );
  const { session, view } = useSession(id, onChat);
  const { state, pending } = view;
  const busy = session?.busy ?? false;
  const chat = state?.chat ?? null;

  useEffect(() => {
    if (id === null) {
      setFresh((old) => ({ ...old, system: "", temporary: false }));
      input.current?.focus();
    }
    setOpen(null);
  }, [id]);
  const served = models.map((model) => model.id).join();
  useEffect(() => {
    if (served) fetchStarters().then(setStarters, () => setStarters([]));
  }, [served]);

  const fallback = models.find((model) => model.default) ?? models[0];
  const picked = chat ? chat.model : fresh.model;
  const current = models.find((model) => model.id === picked || model.name === picked) ?? fallback;
  const asked = compare?.length ? compare : current ? [current.id] : [];

  const newest = useRef({ session, state, asked, fresh, current });
  newest.current = { session, state, asked, fresh, current };

  const send = useCallback((text: string, attachments: Attachment[], parent?: string | null) => {
    const { session: here, state: now, asked: models_, fresh: begin, current: model } = newest.current;
    if (!here) return Promise.resolve(false);
    const last = now ? branchTo(now.messages, now.chat.leaf).at(-1) : undefined;
    const behind = parent !== undefined ? parent : last?.role === "user" ? last.parent : (last?.id ?? null);
    return here.ask(
      { text, attachments, parent: behind, model: model?.id ?? "", models: models_ },
      { ...begin, model: begin.model },
    );
  }, []);
  const onSend = async (text: string, attachments: Attachment[]) => {
    const taken = await send(text, attachments);
    return taken;
  };

  const deeds = useMemo<Deeds>(() => {
    const here = () => newest.current.session;
    return {
      copy: (message) => {
        void copyText(message.content).then((done) => say({ text: t(done ? "chat.copied" : "chat.notCopied") }));
        if (message.rating !== undefined) signal(newest.current.state?.chat.id, message.id, "copied");
      },
      edit: async (message, text) => {
        const attachments = message.attachments.length ? await filesOf(newest.current.state?.chat.id ?? "", message.id) : [];
        return send(text, attachments, message.parent);
      },
      again: (message, how, model) => void here()?.again(message.id, how, model),
      turn: (message) => void here()?.show(message.id),
      shown: (message, length) => here()?.markShown(message, length),
      details: (message) => setOpen({ kind: "details", message }),
      flag: (message) => setOpen({ kind: "flag", message }),
      place: (message) => here()?.place(message),
    };
  }, [send, say, t]);

  const onGone = useCallback((gone: string) => {
    if (newest.current.session?.id === gone) location.hash = "#/chat";
  }, []);
  const { deeds: chatDeeds, dialogs } = useChatDeeds(history, onGone);
  const outside = useOutside();
  const flipSidebar = useCallback(() => {
    if (narrow) return setDrawer((old) => !old);
    setBeside((old) => {
      localStorage.setItem(SIDEBAR_KEY, old ? "closed" : "open");
      return !old;
    });
  }, [narrow]);
  useKeys({ input, flipSidebar, busy, stop: () => void session?.stop(), copyLast: () => copyLast(newest.current.state, deeds) });

  const { dropping, dropzone } = useDrop((files) => input.current?.addFiles(files));
  const changeChat = (values: Partial<Chat>) =>
    session?.id ? session.change(values) : Promise.resolve(setFresh({ ...fresh, ...values } as typeof fresh));
  const pickModel = (model: string) =>
    void changeChat({ model }).catch((error: Error) => say({ text: error.message }));
  const editLast = () => {
    const buttons = document.querySelectorAll<HTMLElement>("[data-deed=edit]");
    buttons[buttons.length - 1]?.click();
  };

  const empty = !pending && !state?.messages.length && !view.loading;
  const sidebar = <Sidebar history={history} current={id} deeds={chatDeeds} onGo={() => setDrawer(false)} />;
  return (
    <div className="chat-room">
      {!narrow && beside && <aside className="sidebar" aria-label={t("history.title")}>{sidebar}</aside>}
      {narrow && drawer && (
        <Dialog title={t("history.title")} kind="drawer" onClose={() => setDrawer(false)}>
          {sidebar}
        </Dialog>
      )}
      <main id="main" className={compare ? "chat comparing" : "chat"} {...dropzone}>
        <h1 className="hidden">{chat?.title || t("chat.title")}</h1>
        <ChatBar
          chat={chat}
          temporary={chat ? chat.temporary : fresh.temporary}
          onTemporary={() => setFresh({ ...fresh, temporary: !fresh.temporary })}
          models={models}
          current={current}
          compare={compare}
          onCompare={setCompare}
          onPick={pickModel}
          onSidebar={flipSidebar}
          sidebarOpen={narrow ? drawer : beside}
          onSettings={() => setOpen({ kind: "settings" })}
          deeds={chatDeeds}
        />
        {view.missing ? (
          <div className="alone grow">
            <h2>{t("chat.missing")}</h2>
            <p>
              <a className="button" href="#/chat">
                {t("chat.new")}
              </a>
            </p>
          </div>
        ) : empty ? (
          <Welcome model={current} starters={starters} temporary={chat?.temporary ?? fresh.temporary} onStart={(text) => void send(text, [])} />
        ) : (
          <Transcript
            messages={state?.messages ?? NONE}
            leaf={wantedLeaf(state?.messages, wanted) ?? chat?.leaf ?? null}
            pending={pending}
            busy={busy}
            models={models}
            deeds={deeds}
            wanted={state ? wanted : undefined}
            onPress={outside.onPress}
          />
        )}
        <p className="hidden" role="status" data-status={view.status}>
          {statusText(view.status)}
        </p>
        <div className="chat-foot">
          {view.lost && (
            <p className="remark" role="status">
              {t("chat.lost")}
            </p>
          )}
          {(view.problem || modelProblem) && (
            <p className="problem" role="alert">
              {view.problem || modelProblem}{" "}
              <button
                type="button"
                className="linklike"
                onClick={() => {
                  session?.dismiss();
                  reloadModels();
                  if (id !== null) void session?.refresh();
                }}
              >
                {t("ui.again")}
              </button>
            </p>
          )}
          <Composer
            ref={input}
            draft={id ?? "new"}
            busy={busy}
            ready={asked.length > 0 && !view.missing}
            onSend={onSend}
            onStop={() => void session?.stop()}
            onEditLast={editLast}
          />
          <p className="notice quiet">{current && t(current.source === "simulated" ? "chat.simulated" : "chat.canBeWrong")}</p>
        </div>
        {dropping && <div className="dropping">{t("files.drop")}</div>}
      </main>
      {dialogs}
      {outside.dialog}
      {open?.kind === "details" && <DetailsDialog message={open.message} models={models} onClose={() => setOpen(null)} />}
      {open?.kind === "flag" && chat && (
        <FlagDialog
          chat={chat.id}
          message={open.message}
          onFlagged={() => {
            session?.place({ ...open.message, flagged: true });
            say({ text: t("flag.thanks") });
          }}
          onClose={() => setOpen(null)}
        />
      )}
      {open?.kind === "settings" && (
        <ChatSettings
          system={chat ? chat.system : fresh.system}
          training={chat && me ? chat.training : undefined}
          account={settings.training}
          onSave={changeChat}
          onClose={() => setOpen(null)}
        />
      )}
    </div>
  );
}

const NONE: Message[] = [];

/** The branch that shows a message found by a search. */
function wantedLeaf(messages: Message[] | undefined, wanted: string | undefined): string | null {
  return wanted && messages?.some((message) => message.id === wanted) ? wanted : null;
}

/** The texts of the files of a message: a page is only told their names, the person's own copy of the chat has them. */
async function filesOf(chat: string, message: string): Promise<Attachment[]> {
  const whole = await call<{ messages: { id: string; attachments: Attachment[] }[] }>(`/api/chats/${chat}/export?format=json`);
  return whole.messages.find((one) => one.id === message)?.attachments ?? [];
}

/** A weak signal; that it is not taken changes nothing for the person. */
function signal(chat: string | undefined, message: string, kind: string): void {
  if (chat) post(`/api/chats/${chat}/messages/${message}/signals`, { kind }).catch(() => undefined);
}

function copyLast(state: { chat: Chat; messages: Message[] } | null, deeds: Deeds): void {
  const answer = state ? branchTo(state.messages, state.chat.leaf).findLast((message) => message.role === "assistant") : undefined;
  if (answer?.content) deeds.copy(answer);
}

interface Keys {
  input: React.RefObject<ComposerHandle | null>;
  flipSidebar: () => void;
  busy: boolean;
  stop: () => void;
  copyLast: () => void;
}

function useKeys(keys: Keys): void {
  const newest = useRef(keys);
  newest.current = keys;
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const { input, flipSidebar, busy, stop, copyLast: copy } = newest.current;
      if (document.querySelector("dialog[open], :popover-open")) return;
      const command = (event.ctrlKey || event.metaKey) && !event.altKey;
      const key = event.key.toLowerCase();
      const does =
        command && event.shiftKey && key === "o" ? () => (location.hash = "#/chat")
        : command && event.shiftKey && key === "s" ? flipSidebar
        : command && event.shiftKey && key === "y" ? copy
        : command && !event.shiftKey && key === "k" ? () => focusSearch(flipSidebar)
        : event.key === "Escape" && busy ? stop
        : event.key === "/" && !command && !inText(event.target) ? () => input.current?.focus()
        : null; // prettier-ignore
      if (!does) return;
      event.preventDefault();
      does();
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}

function focusSearch(open: () => void): void {
  if (!document.getElementById("search")) open();
  requestAnimationFrame(() => document.getElementById("search")?.focus());
}

function useDrop(onFiles: (files: File[]) => void) {
  const [dropping, setDropping] = useState(false);
  const hasFiles = (event: DragEvent) => event.dataTransfer.types.includes("Files");
  const dropzone = {
    onDragOver: (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setDropping(true);
    },
    onDragLeave: (event: DragEvent) => {
      if (!event.currentTarget.contains(event.relatedTarget as Node | null)) setDropping(false);
    },
    onDrop: (event: DragEvent) => {
      setDropping(false);
      if (!hasFiles(event)) return;
      event.preventDefault();
      onFiles([...event.dataTransfer.files]);
    },
  };
  return { dropping, dropzone };
}
