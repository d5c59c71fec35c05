import { useState } from "react";
import { useTranslation } from "react-i18next";
import { post } from "../lib/api";
import { dateTime, visible } from "../lib/format";
import { modelTitle } from "../lib/names";
import type { Chat, Message, Model } from "../lib/types";
import { Dialog } from "../ui/dialog";
import { useAction } from "../ui/use";
import { ModelFacts } from "./picker";

const LONGEST_SYSTEM = 20_000;
const LONGEST_FLAG = 2_000;

interface SystemProps {
  system: string;
  /** What may be learned from this chat; undefined where nothing is learned from chats. */
  training: Chat["training"] | undefined;
  account: boolean;
  onSave: (values: { system: string; training?: boolean | null }) => Promise<unknown>;
  onClose: () => void;
}

/** What a chat begins with, and whether it may teach. */
export function ChatSettings({ system, training, account, onSave, onClose }: SystemProps) {
  const { t } = useTranslation();
  const [text, setText] = useState(system);
  const [teach, setTeach] = useState(training);
  const { busy, problem, run } = useAction();
  const values = teach === undefined || teach === training ? { system: text } : { system: text, training: teach };
  return (
    <Dialog title={t("system.title")} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void run(async () => {
            await onSave(values);
            onClose();
          });
        }}
      >
        <label className="field">
          <span>{t("system.label")}</span>
          <textarea rows={6} dir="auto" maxLength={LONGEST_SYSTEM} value={text} autoFocus onChange={(event) => setText(event.target.value)} />
        </label>
        <p className="quiet small">{t("system.about")}</p>
        {teach !== undefined && (
          <label className="field">
            <span>{t("system.training")}</span>
            <select
              value={String(teach)}
              onChange={(event) => setTeach(event.target.value === "null" ? null : event.target.value === "true")}
            >
              <option value="null">{t("system.asAccount", { choice: t(account ? "data.on" : "data.off") })}</option>
              <option value="true">{t("data.on")}</option>
              <option value="false">{t("data.off")}</option>
            </select>
          </label>
        )}
        {problem && (
          <p className="problem" role="alert">
            {problem}
          </p>
        )}
        <div className="dialog-actions">
          <button type="button" className="plain" onClick={onClose}>
            {t("ui.cancel")}
          </button>
          <button type="submit" className="button" disabled={busy}>
            {t("ui.save")}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

/** Which version said this, and when. */
export function DetailsDialog({ message, models, onClose }: { message: Message; models: Model[]; onClose: () => void }) {
  const { t } = useTranslation();
  const model = models.find((one) => one.id === message.version);
  return (
    <Dialog title={t("chat.details")} onClose={onClose}>
      <dl className="facts">
        <div>
          <dt>{t("details.model")}</dt>
          <dd>
            <bdi>{modelTitle(message.model)}</bdi>
          </dd>
        </div>
        <div>
          <dt>{t("details.when")}</dt>
          <dd>{dateTime(message.created)}</dd>
        </div>
        <div>
          <dt>{t("details.ended")}</dt>
          <dd>{message.detail ? visible(message.detail) : message.status}</dd>
        </div>
      </dl>
      {model ? (
        <ModelFacts model={model} />
      ) : (
        <p className="quiet">{t("details.gone", { version: message.version })}</p>
      )}
    </Dialog>
  );
}

const REASONS = ["unsafe", "hate", "self_harm", "sexual", "illegal", "privacy", "spam", "other"] as const;

interface FlagProps {
  chat: string;
  message: Message;
  onFlagged: () => void;
  onClose: () => void;
}

/** Tells the people who run this place that an answer should be looked at. */
export function FlagDialog({ chat, message, onFlagged, onClose }: FlagProps) {
  const { t } = useTranslation();
  const [reason, setReason] = useState<(typeof REASONS)[number]>("unsafe");
  const [text, setText] = useState("");
  const [whole, setWhole] = useState(false);
  const { busy, problem, run } = useAction();
  return (
    <Dialog title={t("flag.title")} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void run(async () => {
            await post(`/api/chats/${chat}/messages/${message.id}/flag`, {
              reason, text: text.trim(), covers: whole ? "conversation" : "message",
            });
            onFlagged();
            onClose();
          });
        }}
      >
        <p>{t("flag.about")}</p>
        <fieldset className="choices">
          <legend>{t("flag.reason")}</legend>
          {REASONS.map((one) => (
            <label key={one}>
              <input type="radio" name="reason" checked={reason === one} onChange={() => setReason(one)} />
              {t(`flag.reasons.${one}`)}
            </label>
          ))}
        </fieldset>
        <label className="field">
          <span>{t("flag.words")}</span>
          <textarea rows={3} dir="auto" maxLength={LONGEST_FLAG} value={text} onChange={(event) => setText(event.target.value)} />
        </label>
        <label className="check">
          <input type="checkbox" checked={whole} onChange={(event) => setWhole(event.target.checked)} />
          {t("flag.whole")}
        </label>
        {problem && (
          <p className="problem" role="alert">
            {problem}
          </p>
        )}
        <div className="dialog-actions">
          <button type="button" className="plain" onClick={onClose}>
            {t("ui.cancel")}
          </button>
          <button type="submit" className="button" disabled={busy}>
            {t("flag.send")}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
