import { type ReactNode, useCallback, useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { failureText, patch, remove } from "../lib/api";
import { visible } from "../lib/format";
import type { Chat } from "../lib/types";
import { Confirm, Dialog } from "../ui/dialog";
import { useToast } from "../ui/toast";
import { useAction } from "../ui/use";
import { ShareDialog } from "./share";
import type { History } from "./use-history";

/** What can be done with a whole chat, from wherever it is shown. */
export interface ChatDeeds {
  rename: (chat: Chat) => void;
  pin: (chat: Chat) => void;
  archive: (chat: Chat) => void;
  share: (chat: Chat) => void;
  remove: (chat: Chat) => void;
}

type Asked = { kind: "rename" | "share" | "remove"; chat: Chat } | null;

export function useChatDeeds(history: History, onGone: (id: string) => void): { deeds: ChatDeeds; dialogs: ReactNode } {
  const { t } = useTranslation();
  const say = useToast();
  const [asked, setAsked] = useState<Asked>(null);
  const { put, drop } = history;

  const change = useCallback(
    async (chat: Chat, values: Partial<Chat>) => {
      try {
        put(await patch<Chat>(`/api/chats/${chat.id}`, values));
        return true;
      } catch (error) {
        say({ text: failureText(error) });
        return false;
      }
    },
    [put, say],
  );
  const archive = useCallback(
    async (chat: Chat) => {
      if (!(await change(chat, { archived: true }))) return;
      onGone(chat.id);
      say({ text: t("history.archived"), action: { label: t("ui.undo"), run: () => void change(chat, { archived: false }) } });
    },
    [change, onGone, say, t],
  );
  const erase = async (chat: Chat) => {
    try {
      await remove(`/api/chats/${chat.id}`);
      drop(chat.id);
      onGone(chat.id);
      say({ text: t("history.deleted") });
    } catch (error) {
      say({ text: failureText(error) });
    }
  };
  const deeds = useMemo<ChatDeeds>(
    () => ({
      rename: (chat) => setAsked({ kind: "rename", chat }),
      pin: (chat) => void change(chat, { pinned: !chat.pinned }),
      archive: (chat) => void archive(chat),
      share: (chat) => setAsked({ kind: "share", chat }),
      remove: (chat) => setAsked({ kind: "remove", chat }),
    }),
    [change, archive],
  );
  const close = () => setAsked(null);
  const title = asked ? visible(asked.chat.title) || t("history.untitled") : "";
  const dialogs = (
    <>
      {asked?.kind === "rename" && (
        <RenameDialog chat={asked.chat} onClose={close} onSave={(name) => change(asked.chat, { title: name })} />
      )}
      {asked?.kind === "share" && <ShareDialog chat={asked.chat} onClose={close} />}
      {asked?.kind === "remove" && (
        <Confirm
          title={t("history.deleteTitle")}
          text={t("history.deleteText", { title })}
          action={t("history.delete")}
          danger
          onConfirm={() => void erase(asked.chat)}
          onClose={close}
        />
      )}
    </>
  );
  return { deeds, dialogs };
}

interface RenameProps {
  chat: Chat;
  onClose: () => void;
  onSave: (title: string) => Promise<boolean>;
}

function RenameDialog({ chat, onClose, onSave }: RenameProps) {
  const { t } = useTranslation();
  const [title, setTitle] = useState(chat.title);
  const { busy, run } = useAction();
  return (
    <Dialog title={t("history.rename")} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void run(async () => (await onSave(title.trim())) && onClose());
        }}
      >
        <label className="field">
          <span>{t("history.name")}</span>
          <input type="text" dir="auto" value={title} maxLength={200} required autoFocus onChange={(event) => setTitle(event.target.value)} />
        </label>
        <div className="dialog-actions">
          <button type="button" className="plain" onClick={onClose}>
            {t("ui.cancel")}
          </button>
          <button type="submit" className="button" disabled={busy || !title.trim()}>
            {t("ui.save")}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
