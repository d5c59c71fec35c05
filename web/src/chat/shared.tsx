import { useTranslation } from "react-i18next";
import { get } from "../lib/api";
import { date, visible } from "../lib/format";
import { modelTitle } from "../lib/names";
import { useLoaded } from "../ui/use";
import { Markdown } from "./markdown";
import { useOutside } from "./outside";

interface Shared {
  title: string;
  created: string;
  messages: { role: "user" | "assistant"; content: string; model: string; id?: string }[];
}

/** A conversation that somebody shared, for whoever has the link. */
export function SharedPage({ token }: { token: string }) {
  const { t } = useTranslation();
  const { data, problem } = useLoaded(() => get<Shared>(`/api/shared/${encodeURIComponent(token)}`), [token]);
  const outside = useOutside();
  return (
    <main id="main" className="reading" onClick={outside.onPress} onAuxClick={outside.onPress}>
      {problem && (
        <div className="alone">
          <h1>{t("share.missing")}</h1>
          <p role="alert">{problem}</p>
        </div>
      )}
      {data && (
        <>
          <h1 dir="auto">{visible(data.title) || t("history.untitled")}</h1>
          <p className="quiet">{t("share.notice", { date: date(data.created) })}</p>
          {data.messages.map((message, index) =>
            message.role === "user" ? (
              <article key={index} className="message user" aria-label={t("chat.you")}>
                <div className="said">
                  <p dir="auto" className="said-text">
                    {visible(message.content)}
                  </p>
                </div>
              </article>
            ) : (
              <article key={index} className="message answer">
                <h2 className="answer-name">
                  <bdi>{modelTitle(message.model)}</bdi>
                </h2>
                <Markdown text={message.content} />
              </article>
            ),
          )}
        </>
      )}
      {outside.dialog}
    </main>
  );
}
