import type { TFunction } from "i18next";
import { memo, type ReactNode, useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { bytes, visible } from "../lib/format";
import { modelTitle } from "../lib/names";
import type { Message, Model } from "../lib/types";
import { Icon, type IconName } from "../ui/icons";
import { Menu, type MenuItem } from "../ui/menu";
import { Markdown } from "./markdown";
import { RatingPanel, useRating } from "./rating";

/** What can be done with a message; the same object for all, so that nothing is drawn again for it. */
export interface Deeds {
  copy: (message: Message) => void;
  edit: (message: Message, text: string) => Promise<boolean>;
  again: (message: Message, how: "regenerate" | "continue", model?: string) => void;
  turn: (message: Message) => void;
  shown: (message: string, length: number) => void;
  details: (message: Message) => void;
  flag: (message: Message) => void;
  place: (message: Message) => void;
}

interface Shared {
  message: Message;
  index: number;
  count: number;
  before: Message | undefined;
  after: Message | undefined;
  busy: boolean;
  deeds: Deeds;
}

export const UserMessage = memo(function UserMessage(props: Shared) {
  const { message, busy, deeds } = props;
  const { t } = useTranslation();
  const [editing, setEditing] = useState(false);
  return (
    <article className="message user" id={message.id} aria-label={t("chat.you")}>
      <h2 className="hidden">{t("chat.you")}</h2>
      {editing ? (
        <EditForm message={message} busy={busy} onSend={deeds.edit} onClose={() => setEditing(false)} />
      ) : (
        <>
          <div className="said">
            {message.content && (
              <p dir="auto" className="said-text">
                {visible(message.content)}
              </p>
            )}
            <Files files={message.attachments} />
          </div>
          <div className="actions">
            <Pager {...props} />
            <Action icon="copy" label={t("chat.copy")} onClick={() => deeds.copy(message)} />
            <Action icon="edit" label={t("chat.edit")} disabled={busy} onClick={() => setEditing(true)} data="edit" />
          </div>
        </>
      )}
    </article>
  );
});

export function Files({ files }: { files: readonly { name: string; size: number }[] }) {
  if (!files.length) return null;
  return (
    <ul className="files">
      {files.map((file, index) => (
        <li key={index}>
          <Icon name="clip" size={15} />
          <bdi>{visible(file.name)}</bdi>
          <span className="quiet">{bytes(file.size)}</span>
        </li>
      ))}
    </ul>
  );
}

interface EditProps {
  message: Message;
  busy: boolean;
  onSend: Deeds["edit"];
  onClose: () => void;
}

function EditForm({ message, busy, onSend, onClose }: EditProps) {
  const { t } = useTranslation();
  const [text, setText] = useState(message.content);
  const send = () => {
    if (busy || (!text.trim() && !message.attachments.length)) return;
    onClose();
    void onSend(message, text.trim());
  };
  return (
    <form
      className="edit"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <textarea
        aria-label={t("chat.editLabel")}
        dir="auto"
        value={text}
        rows={Math.min(12, text.split("\n").length + 1)}
        autoFocus
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape") {
            event.stopPropagation();
            onClose();
          }
          if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) {
            event.preventDefault();
            send();
          }
        }}
      />
      <div className="dialog-actions">
        <button type="button" className="plain" onClick={onClose}>
          {t("ui.cancel")}
        </button>
        <button type="submit" className="button" disabled={busy}>
          {t("chat.sendEdit")}
        </button>
      </div>
    </form>
  );
}

interface AnswerProps extends Shared {
  models: Model[];
  /** The end of the branch: what broke off here can go on. */
  last: boolean;
  /** One of several side by side. */
  many?: boolean;
  hideName?: boolean;
  children?: ReactNode;
}

export const AnswerMessage = memo(function AnswerMessage(props: AnswerProps) {
  const { message, count, busy, deeds, models, last, many = false, hideName = false, children } = props;
  const { t } = useTranslation();
  const open = message.status === "streaming";
  const rating = useRating(message, deeds.place);
  const { id, content } = message;
  useEffect(() => deeds.shown(id, content.length), [deeds, id, content]);
  const name = hideName ? t(`compare.${message.comparison?.side ?? "left"}`) : modelTitle(message.model);
  return (
    <article className={many ? "message answer card-answer" : "message answer"} id={id} aria-busy={open}>
      <h2 className="answer-name">
        <bdi>{name}</bdi>
      </h2>
      {message.dropped > 0 && <p className="remark">{t("chat.dropped")}</p>}
      {content && <Markdown text={content} open={open} />}
      {open && <span className="caret" aria-hidden="true" />}
      <Remark message={message} last={last} busy={busy} deeds={deeds} />
      {children}
      {open && !many && count > 1 && (
        <div className="actions">
          <Pager {...props} />
        </div>
      )}
      {!open && !hideName && (
        <div className="actions">
          {!many && <Pager {...props} />}
          {content && <Action icon="copy" label={t("chat.copy")} onClick={() => deeds.copy(message)} />}
          {rating.offered && (
            <>
              <Action icon="up" label={t("rating.good")} pressed={rating.value === 1} onClick={() => rating.rate(1)} />
              <Action icon="thumbDown" label={t("rating.bad")} pressed={rating.value === -1} onClick={() => rating.rate(-1)} />
            </>
          )}
          <Action icon="again" label={t("chat.regenerate")} disabled={busy} onClick={() => deeds.again(message, "regenerate")} />
          <Menu label={t("chat.more")} items={moreItems(t, message, models, busy, deeds)} />
        </div>
      )}
      {rating.panel && <RatingPanel rating={rating} />}
    </article>
  );
});

function moreItems(
  t: TFunction,
  message: Message,
  models: Model[],
  busy: boolean,
  deeds: Deeds,
): MenuItem[] {
  const others = busy ? [] : models.filter((model) => models.length > 1 && model.id !== message.version);
  return [
    ...others.slice(0, 8).map((model) => ({
      label: t("chat.regenerateWith", { model: modelTitle(model.name) }),
      icon: "again" as const,
      onSelect: () => deeds.again(message, "regenerate", model.id),
    })),
    { label: t("chat.details"), icon: "help", onSelect: () => deeds.details(message) },
    ...(message.flagged === undefined
      ? []
      : [{ label: t(message.flagged ? "flag.flagged" : "flag.flag"), icon: "flag" as const, onSelect: () => deeds.flag(message) }]),
  ];
}

interface RemarkProps {
  message: Message;
  last: boolean;
  busy: boolean;
  deeds: Deeds;
}

/** How an answer ended, where it is not simply done, and the way on. */
function Remark({ message, last, busy, deeds }: RemarkProps) {
  const { t } = useTranslation();
  const { status, detail, content } = message;
  const again = (how: "regenerate" | "continue") => (
    <button type="button" className="linklike" disabled={busy} onClick={() => deeds.again(message, how)}>
      {t(how === "continue" ? "chat.continue" : "chat.tryAgain")}
    </button>
  );
  const goOn = content && last ? again("continue") : null;
  if (status === "failed" || status === "interrupted") {
    return (
      <p className="problem" role={last ? "alert" : undefined}>
        {capital(detail)} {goOn} {(!content || status === "failed") && again("regenerate")}
      </p>
    );
  }
  if (status === "stopped") return <p className="remark">{t("chat.stopped")} {goOn}</p>;
  if (status === "done" && detail === "length") return <p className="remark">{t("chat.cut")} {goOn}</p>;
  if (status === "done" && !content) return <p className="remark">{t("chat.nothing")}</p>;
  return null;
}

function capital(text: string): string {
  const shown = visible(text);
  return shown ? `${shown[0]?.toUpperCase()}${shown.slice(1)}${/[.!?]$/.test(shown) ? "" : "."}` : "";
}

function Pager({ index, count, before, after, deeds }: Shared) {
  const { t } = useTranslation();
  if (count < 2) return null;
  return (
    <span className="pager" role="group" aria-label={t("chat.variants")}>
      <Action icon="left" label={t("chat.previous")} disabled={!before} onClick={() => before && deeds.turn(before)} />
      <span className="pager-count">
        {index + 1}/{count}
      </span>
      <Action icon="right" label={t("chat.next")} disabled={!after} onClick={() => after && deeds.turn(after)} />
    </span>
  );
}

interface ActionProps {
  icon: IconName;
  label: string;
  onClick: () => void;
  disabled?: boolean;
  pressed?: boolean;
  data?: string;
}

function Action({ icon, label, onClick, disabled = false, pressed, data }: ActionProps) {
  return (
    <button
      type="button"
      className="icon-button"
      aria-label={label}
      title={label}
      aria-pressed={pressed}
      aria-disabled={disabled || undefined}
      data-deed={data}
      // Not `disabled`: a button that had the focus would lose it.
      onClick={() => !disabled && onClick()}
    >
      <Icon name={icon} />
    </button>
  );
}
