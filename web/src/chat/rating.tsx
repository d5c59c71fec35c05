import { useState } from "react";
import { useTranslation } from "react-i18next";
import { failureText, put } from "../lib/api";
import type { Message, Rating } from "../lib/types";

export const TAGS = {
  [-1]: ["wrong", "unsafe", "refused", "instructions", "long", "style", "other"],
  1: ["correct", "helpful", "clear", "creative", "instructions", "other"],
} as const;
const LONGEST = 4_000;

export interface Rater {
  /** Whether this server takes ratings. */
  offered: boolean;
  value: -1 | 0 | 1;
  panel: boolean;
  problem: string;
  rating: Rating | null;
  rate: (value: -1 | 1) => void;
  say: (tags: string[], text: string) => Promise<void>;
  close: () => void;
}

/** The rating of an answer. A thumb counts at once; reasons may follow; the same thumb again takes it back. */
export function useRating(message: Message, place: (message: Message) => void): Rater {
  const [panel, setPanel] = useState(false);
  const [problem, setProblem] = useState("");
  const rating = message.rating ?? null;
  const value = rating?.value ?? 0;
  const path = `/api/chats/${chatOf()}/messages/${message.id}/rating`;
  const keep = async (next: Rating) => {
    setProblem("");
    place({ ...message, rating: next.value ? next : null });
    try {
      await put(path, next);
    } catch (error) {
      place({ ...message, rating });
      setProblem(failureText(error));
    }
  };
  return {
    offered: message.rating !== undefined && message.role === "assistant",
    value,
    panel,
    problem,
    rating,
    rate: (wanted) => {
      setPanel(wanted !== value);
      void keep({ value: wanted === value ? 0 : wanted, tags: [], text: "" });
    },
    say: async (tags, text) => {
      await keep({ value, tags, text });
      setPanel(false);
    },
    close: () => setPanel(false),
  };
}

/** The chat that the page shows. */
export const chatOf = () => location.hash.split("/")[2] ?? "";

export function RatingPanel({ rating }: { rating: Rater }) {
  const { t } = useTranslation();
  const [tags, setTags] = useState<string[]>(rating.rating?.tags ?? []);
  const [text, setText] = useState(rating.rating?.text ?? "");
  const offered = rating.value === -1 ? TAGS[-1] : TAGS[1];
  const flip = (tag: string) => setTags((old) => (old.includes(tag) ? old.filter((one) => one !== tag) : [...old, tag]));
  if (rating.value === 0) return rating.problem ? <p className="problem" role="alert">{rating.problem}</p> : null;
  return (
    <form
      className="rating"
      aria-label={t("rating.reasons")}
      onSubmit={(event) => {
        event.preventDefault();
        void rating.say(tags, text.trim());
      }}
    >
      <p>{t(rating.value === -1 ? "rating.askBad" : "rating.askGood")}</p>
      <div className="chips" role="group" aria-label={t("rating.reasons")}>
        {offered.map((tag) => (
          <button key={tag} type="button" className="chip" aria-pressed={tags.includes(tag)} onClick={() => flip(tag)}>
            {t(`rating.${rating.value === 1 ? "praise" : "blame"}.${tag}`)}
          </button>
        ))}
      </div>
      <textarea
        aria-label={t("rating.words")}
        placeholder={t("rating.words")}
        dir="auto"
        rows={2}
        maxLength={LONGEST}
        value={text}
        onChange={(event) => setText(event.target.value)}
      />
      {rating.problem && <p className="problem" role="alert">{rating.problem}</p>}
      <div className="dialog-actions">
        <button type="button" className="plain" onClick={rating.close}>
          {t("rating.skip")}
        </button>
        <button type="submit" className="button">
          {t("rating.send")}
        </button>
      </div>
    </form>
  );
}
