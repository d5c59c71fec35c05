import { useTranslation } from "react-i18next";
import { ShareList } from "../chat/share";
import { get, patch } from "../lib/api";
import { date, visible } from "../lib/format";
import type { Chat, Page, Share } from "../lib/types";
import { useAction, useLoaded } from "../ui/use";

export function SharesSection() {
  const { t } = useTranslation();
  const { data, problem, reload } = useLoaded(() => get<Page<Share>>("/api/shares"), []);
  return (
    <>
      <p className="quiet">{t("share.about")}</p>
      {problem && <p className="problem" role="alert">{problem}</p>}
      {data && !data.data.length && <p className="quiet">{t("share.none")}</p>}
      <ShareList shares={data?.data ?? []} onGone={reload} titles />
    </>
  );
}

export function ArchivedSection() {
  const { t } = useTranslation();
  const { data, problem, reload } = useLoaded(() => get<Page<Chat>>("/api/chats?archived=true&limit=200"), []);
  const action = useAction();
  const rows = data?.data ?? [];
  return (
    <>
      {(problem || action.problem) && <p className="problem" role="alert">{problem || action.problem}</p>}
      {data && !rows.length && <p className="quiet">{t("settings.noArchived")}</p>}
      <ul className="rows">
        {rows.map((chat) => (
          <li key={chat.id}>
            <span>
              <a href={`#/chat/${chat.id}`} dir="auto">{visible(chat.title) || t("history.untitled")}</a>
              <span className="quiet small block">{date(chat.changed)}</span>
            </span>
            <button
              type="button"
              className="plain"
              disabled={action.busy}
              onClick={() => void action.run(() => patch(`/api/chats/${chat.id}`, { archived: false })).then((done) => done && reload())}
            >
              {t("history.unarchive")}
            </button>
          </li>
        ))}
      </ul>
    </>
  );
}
