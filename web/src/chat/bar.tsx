import { useTranslation } from "react-i18next";
import type { Chat, Model } from "../lib/types";
import { Icon } from "../ui/icons";
import { Menu } from "../ui/menu";
import type { ChatDeeds } from "./chat-deeds";
import { ModelPicker } from "./picker";

interface Props {
  chat: Chat | null;
  temporary: boolean;
  onTemporary: () => void;
  models: Model[];
  current: Model | undefined;
  compare: string[] | null;
  onCompare: (ids: string[] | null) => void;
  onPick: (id: string) => void;
  onSidebar: () => void;
  sidebarOpen: boolean;
  onSettings: () => void;
  deeds: ChatDeeds;
}

/** Above a conversation: who answers, and what can be done with the whole of it. */
export function ChatBar(props: Props) {
  const { chat, temporary, onTemporary, models, current, compare, onCompare, onPick, onSidebar, sidebarOpen, onSettings, deeds } = props;
  const { t } = useTranslation();
  const shareable = chat && !chat.temporary && chat.leaf;
  return (
    <div className="chat-bar">
      <button
        type="button"
        className="icon-button"
        aria-label={t("history.toggle")}
        title={t("history.toggle")}
        aria-expanded={sidebarOpen}
        onClick={onSidebar}
      >
        <Icon name="menu" />
      </button>
      <ModelPicker
        models={models}
        current={current}
        compare={compare !== null}
        chosen={compare ?? []}
        onPick={onPick}
        onChoose={onCompare}
      />
      <span className="spread" />
      {!chat && (
        <button type="button" className="switch" role="switch" aria-checked={temporary} onClick={onTemporary} title={t("chat.temporaryAbout")}>
          <span className="switch-track" aria-hidden="true" />
          <span className="switch-text">{t("chat.temporary")}</span>
        </button>
      )}
      {chat?.temporary && <span className="badge">{t("chat.temporary")}</span>}
      {models.length > 1 && (
        <button
          type="button"
          className="switch"
          role="switch"
          aria-checked={compare !== null}
          onClick={() => onCompare(compare ? null : models.slice(0, 8).map((model) => model.id))}
        >
          <span className="switch-track" aria-hidden="true" />
          <span className="switch-text">{t("compare.switch")}</span>
        </button>
      )}
      <Menu
        label={t("chat.menu")}
        items={[
          { label: t("system.title"), icon: "sliders", onSelect: onSettings },
          ...(chat
            ? [
                ...(shareable ? [{ label: t("share.title"), icon: "share" as const, onSelect: () => deeds.share(chat) }] : []),
                { label: t("history.rename"), icon: "edit" as const, onSelect: () => deeds.rename(chat) },
                { label: t("export.markdown"), icon: "download" as const, href: `/api/chats/${chat.id}/export?format=markdown`, download: "" },
                { label: t("export.json"), icon: "download" as const, href: `/api/chats/${chat.id}/export?format=json`, download: "" },
                { label: t("history.archive"), icon: "archive" as const, onSelect: () => deeds.archive(chat) },
                { label: t("history.delete"), icon: "trash" as const, danger: true, onSelect: () => deeds.remove(chat) },
              ]
            : []),
        ]}
      />
    </div>
  );
}
