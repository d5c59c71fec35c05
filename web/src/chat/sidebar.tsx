import { useEffect, useMemo, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { failureText, get } from "../lib/api";
import { type Group, grouped } from "../lib/dates";
import { month, visible } from "../lib/format";
import type { Chat, Page, SearchHit } from "../lib/types";
import { Icon } from "../ui/icons";
import { Menu } from "../ui/menu";
import type { ChatDeeds } from "./chat-deeds";
import type { History } from "./use-history";

interface Props {
  history: History;
  current: string | null;
  deeds: ChatDeeds;
  onGo: () => void;
}

const SEARCH_PAUSE_MS = 200;

/** The person's chats: search, and the history by date. */
export function Sidebar({ history, current, deeds, onGo }: Props) {
  const { t } = useTranslation();
  const [words, setWords] = useState("");
  const { hits, problem } = useSearch(words);
  return (
    <div className="sidebar-inner">
      <a className="button new-chat" href="#/chat" onClick={onGo}>
        <Icon name="plus" />
        <span>{t("chat.new")}</span>
      </a>
      <div className="search">
        <Icon name="search" />
        <input
          id="search"
          type="search"
          dir="auto"
          value={words}
          maxLength={200}
          aria-label={t("history.search")}
          placeholder={t("history.search")}
          onChange={(event) => setWords(event.target.value)}
        />
      </div>
      <nav className="history" aria-label={t("history.title")} tabIndex={-1}>
        {words.trim() ? (
          <Hits hits={hits} problem={problem} words={words.trim()} onGo={onGo} />
        ) : (
          <Groups history={history} current={current} deeds={deeds} onGo={onGo} />
        )}
      </nav>
    </div>
  );
}

function Groups({ history, current, deeds, onGo }: Props) {
  const { t } = useTranslation();
  const groups = useMemo(() => grouped(history.chats, new Date()), [history.chats]);
  const title = (group: Group) => (group.kind === "month" ? month(group.month) : t(`history.${group.kind}`));
  return (
    <>
      {history.problem && (
        <p className="problem" role="alert">
          {history.problem}{" "}
          <button type="button" className="linklike" onClick={history.reload}>
            {t("chat.tryAgain")}
          </button>
        </p>
      )}
      {!history.chats.length && !history.loading && !history.problem && <p className="quiet small">{t("history.empty")}</p>}
      {groups.map((group) => (
        <section key={title(group)}>
          <h3>{title(group)}</h3>
          <ul>
            {group.chats.map((chat) => (
              <ChatRow key={chat.id} chat={chat} current={chat.id === current} deeds={deeds} onGo={onGo} />
            ))}
          </ul>
        </section>
      ))}
      {history.more && (
        <button type="button" className="plain more-chats" onClick={history.loadMore} aria-disabled={history.loading}>
          {t("history.more")}
        </button>
      )}
    </>
  );
}

interface RowProps {
  chat: Chat;
  current: boolean;
  deeds: ChatDeeds;
  onGo: () => void;
}

function ChatRow({ chat, current, deeds, onGo }: RowProps) {
  const { t } = useTranslation();
  const title = visible(chat.title) || t("history.untitled");
  return (
    <li className={current ? "chat-row current" : "chat-row"}>
      <a href={`#/chat/${chat.id}`} aria-current={current ? "page" : undefined} onClick={onGo} title={title}>
        {chat.pinned && <Icon name="pin" size={15} />}
        <span dir="auto">{title}</span>
      </a>
      <Menu
        label={t("history.menu", { title })}
        items={[
          { label: t("history.rename"), icon: "edit", onSelect: () => deeds.rename(chat) },
          { label: t(chat.pinned ? "history.unpin" : "history.pin"), icon: "pin", onSelect: () => deeds.pin(chat) },
          { label: t("history.archive"), icon: "archive", onSelect: () => deeds.archive(chat) },
          { label: t("share.title"), icon: "share", onSelect: () => deeds.share(chat) },
          { label: t("history.delete"), icon: "trash", danger: true, onSelect: () => deeds.remove(chat) },
        ]}
      />
    </li>
  );
}

interface HitsProps {
  hits: SearchHit[] | null;
  problem: string;
  words: string;
  onGo: () => void;
}

function Hits({ hits, problem, words, onGo }: HitsProps) {
  const { t } = useTranslation();
  return (
    <>
      <p className="quiet small" role="status">
        {problem || (hits ? t("history.found", { count: hits.length }) : t("history.searching"))}
      </p>
      <ul>
        {(hits ?? []).map((hit) => (
          <li key={`${hit.chat.id}/${hit.message}`} className="hit">
            <a href={`#/chat/${hit.chat.id}${hit.message ? `/${hit.message}` : ""}`} onClick={onGo}>
              <strong dir="auto">{visible(hit.chat.title) || t("history.untitled")}</strong>
              {hit.message && (
                <span dir="auto" className="quiet">
                  <Marked text={visible(hit.snippet)} words={words} />
                </span>
              )}
            </a>
          </li>
        ))}
      </ul>
    </>
  );
}

function Marked({ text, words }: { text: string; words: string }) {
  const at = text.toLocaleLowerCase().indexOf(words.toLocaleLowerCase());
  if (at < 0) return text;
  return (
    <>
      {text.slice(0, at)}
      <mark>{text.slice(at, at + words.length)}</mark>
      {text.slice(at + words.length)}
    </>
  );
}

function useSearch(words: string) {
  const [hits, setHits] = useState<SearchHit[] | null>(null);
  const [problem, setProblem] = useState("");
  const newest = useRef(0);
  useEffect(() => {
    const number = ++newest.current;
    const wanted = words.trim();
    if (!wanted) return setHits(null);
    const timer = setTimeout(() => {
      get<Page<SearchHit>>(`/api/search?q=${encodeURIComponent(wanted)}`).then(
        (found) => {
          if (number !== newest.current) return;
          setHits(found.data);
          setProblem("");
        },
        (error: unknown) => number === newest.current && setProblem(failureText(error)),
      );
    }, SEARCH_PAUSE_MS);
    return () => clearTimeout(timer);
  }, [words]);
  return { hits, problem };
}
