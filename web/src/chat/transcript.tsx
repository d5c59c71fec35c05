import { type MouseEvent, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { visible } from "../lib/format";
import type { Pending } from "../lib/session";
import { branchTo, childrenOf, together, variantsOf } from "../lib/tree";
import type { Message, Model } from "../lib/types";
import { Icon } from "../ui/icons";
import { Choose } from "./choose";
import { AnswerMessage, type Deeds, Files, UserMessage } from "./message";

interface Props {
  messages: Message[];
  leaf: string | null;
  pending: Pending | null;
  busy: boolean;
  models: Model[];
  deeds: Deeds;
  /** A message to show first, found by a search. */
  wanted: string | undefined;
  onPress: (event: MouseEvent) => void;
}

const NEAR_BOTTOM = 80;

interface Row {
  message: Message;
  index: number;
  all: Message[];
  group: Message[];
}

function rowsOf(messages: Message[], leaf: string | null, pending: Pending | null): Row[] {
  const children = childrenOf(messages);
  const branch = pending && pending.parent === null ? [] : branchTo(messages, pending ? pending.parent : leaf);
  return branch.map((message) => ({ message, ...variantsOf(children, message), group: together(children, message) }));
}

/** The conversation. It follows the newest text until the person scrolls up, and again once they are back down. */
export function Transcript({ messages, leaf, pending, busy, models, deeds, wanted, onPress }: Props) {
  const { t } = useTranslation();
  const rows = useMemo(() => rowsOf(messages, leaf, pending), [messages, leaf, pending]);
  const last = rows.at(-1)?.message;
  const { box, away, follow, down } = useFollowing([messages, leaf, pending], `${rows.length}/${pending?.text ?? ""}`, wanted);

  return (
    <div className="transcript-frame">
      <div
        className="transcript"
        ref={box}
        onScroll={follow}
        onClick={onPress}
        onAuxClick={onPress}
        tabIndex={0}
        role="log"
        aria-live="off"
        aria-label={t("chat.conversation")}
      >
        {rows.map(({ message, index, all, group }) => {
          const shared = {
            message, index, count: all.length, before: all[index - 1], after: all[index + 1], busy, deeds,
          }; // prettier-ignore
          if (message.role === "user") return <UserMessage key={message.id} {...shared} />;
          if (group.length > 1 && message === last) {
            return <SideBySide key={group[0]?.id} group={group} chosen={message} busy={busy} models={models} deeds={deeds} />;
          }
          return <AnswerMessage key={message.id} {...shared} models={models} last={message === last} />;
        })}
        {pending && (
          <article className="message user" aria-label={t("chat.you")}>
            <div className="said pending">
              {pending.text && (
                <p dir="auto" className="said-text">
                  {visible(pending.text)}
                </p>
              )}
              <Files files={pending.attachments} />
            </div>
            <span className="caret" aria-hidden="true" />
          </article>
        )}
      </div>
      {away && (
        <button type="button" className="to-end" aria-label={t("chat.toEnd")} title={t("chat.toEnd")} onClick={down}>
          <Icon name="down" />
        </button>
      )}
    </div>
  );
}

interface SideProps {
  group: Message[];
  chosen: Message;
  busy: boolean;
  models: Model[];
  deeds: Deeds;
}

/** Several answers to one question. One of them is gone on with. */
function SideBySide({ group, chosen, busy, models, deeds }: SideProps) {
  const { t } = useTranslation();
  const hidden = group.some((message) => message.comparison && message.comparison.settled === null);
  return (
    <section className="side-by-side" aria-label={t("compare.answers")}>
      <div className="answers">
        {group.map((message) => (
          <AnswerMessage
            key={message.id}
            message={message}
            index={0}
            count={1}
            before={undefined}
            after={undefined}
            busy={busy}
            deeds={deeds}
            models={models}
            last={!hidden}
            many
            hideName={hidden}
          >
            {!hidden && !busy && (
              <button
                type="button"
                className="chip pick"
                aria-pressed={message.id === chosen.id}
                onClick={() => deeds.turn(message)}
              >
                {t(message.id === chosen.id ? "compare.picked" : "compare.pick")}
              </button>
            )}
          </AnswerMessage>
        ))}
      </div>
      {hidden && !busy && <Choose group={group} deeds={deeds} />}
    </section>
  );
}

/** Keeps the end in view while it grows, unless the person has gone elsewhere. */
function useFollowing(changes: readonly unknown[], shape: string, wanted: string | undefined) {
  const box = useRef<HTMLDivElement>(null);
  const following = useRef(true);
  const [away, setAway] = useState(false);
  const down = useCallback(() => {
    const element = box.current;
    following.current = true;
    if (element) element.scrollTop = element.scrollHeight;
    setAway(false);
  }, []);

  useLayoutEffect(() => {
    const element = box.current;
    if (element && following.current) element.scrollTop = element.scrollHeight;
  }, changes);
  useEffect(() => {
    if (!wanted) down();
  }, [shape, wanted, down]);
  useEffect(() => {
    const element = wanted ? document.getElementById(wanted) : null;
    if (!element) return;
    following.current = false;
    element.scrollIntoView({ block: "center" });
    element.classList.add("found");
    const timer = setTimeout(() => element.classList.remove("found"), 2_500);
    return () => clearTimeout(timer);
  }, [wanted]);
  // Pictures of formulas and code arrive late and grow what is there.
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const grown = new ResizeObserver(() => following.current && (element.scrollTop = element.scrollHeight));
    grown.observe(element);
    return () => grown.disconnect();
  }, []);

  const follow = () => {
    const element = box.current;
    if (!element) return;
    following.current = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_BOTTOM;
    setAway(!following.current);
  };
  return { box, away, follow, down };
}
