import { useState } from "react";
import { useTranslation } from "react-i18next";
import { get, post, remove } from "../lib/api";
import { date } from "../lib/format";
import type { Chat, Page, Share } from "../lib/types";
import { Dialog } from "../ui/dialog";
import { copyText, useAction, useLoaded } from "../ui/use";

interface Made extends Share {
  token?: string;
  url_token?: string;
}

/** A link to what a chat says now. It is shown once; it can be taken back at any time. */
export function ShareDialog({ chat, onClose }: { chat: Chat; onClose: () => void }) {
  const { t } = useTranslation();
  const [link, setLink] = useState("");
  const [copied, setCopied] = useState(false);
  const { busy, problem, run } = useAction();
  const shares = useLoaded(() => get<Page<Share>>("/api/shares"), [chat.id]);
  const mine = (shares.data?.data ?? []).filter((share) => share.chat === chat.id);
  const make = () =>
    run(async () => {
      const made = await post<Made>(`/api/chats/${chat.id}/shares`, {});
      setLink(`${location.origin}/#/shared/${made.url_token ?? made.token}`);
      setCopied(false);
      shares.reload();
    });
  return (
    <Dialog title={t("share.title")} onClose={onClose}>
      <p>{t("share.about")}</p>
      {link ? (
        <div className="once">
          <label className="field">
            <span>{t("share.once")}</span>
            <input type="text" readOnly dir="ltr" value={link} onFocus={(event) => event.target.select()} />
          </label>
          <button type="button" className="button" onClick={() => void copyText(link).then(setCopied)}>
            {t(copied ? "chat.copied" : "share.copy")}
          </button>
        </div>
      ) : (
        <button type="button" className="button" disabled={busy} onClick={() => void make()}>
          {t("share.make")}
        </button>
      )}
      {problem && (
        <p className="problem" role="alert">
          {problem}
        </p>
      )}
      <ShareList shares={mine} onGone={shares.reload} />
    </Dialog>
  );
}

export function ShareList({ shares, onGone, titles = false }: { shares: Share[]; onGone: () => void; titles?: boolean }) {
  const { t } = useTranslation();
  const { busy, problem, run } = useAction();
  if (!shares.length) return null;
  return (
    <>
      <h3>{t("share.links")}</h3>
      <ul className="rows">
        {shares.map((share) => (
          <li key={share.id}>
            <span>
              {titles && <a href={`#/chat/${share.chat}`} dir="auto">{share.title || t("history.untitled")}</a>}
              <span className="quiet block">{t("share.made", { date: date(share.created) })}</span>
            </span>
            <button
              type="button"
              className="plain"
              disabled={busy}
              onClick={() => void run(async () => remove(`/api/shares/${share.id}`)).then(onGone)}
            >
              {t("share.revoke")}
            </button>
          </li>
        ))}
      </ul>
      {problem && (
        <p className="problem" role="alert">
          {problem}
        </p>
      )}
    </>
  );
}
