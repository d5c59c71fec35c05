import { useState } from "react";
import { useTranslation } from "react-i18next";
import { put } from "../lib/api";
import type { Choice, Message } from "../lib/types";
import { useAction } from "../ui/use";
import type { Deeds } from "./message";

const CHOICES: Choice[] = ["left", "tie", "both_bad", "right"];

interface Named {
  model: string;
  version: string;
}
type Settled = Partial<Record<"left" | "right", Named>>;

/** "Which is better?" Names stay hidden until the person has said it. */
export function Choose({ group, deeds }: { group: Message[]; deeds: Deeds }) {
  const { t } = useTranslation();
  const { busy, problem, run } = useAction();
  const [settled, setSettled] = useState(false);
  const comparison = group[0]?.comparison;
  if (!comparison || settled) return null;
  const choose = (choice: Choice) =>
    run(async () => {
      const told = await put<Settled>(`/api/comparisons/${comparison.id}`, { choice });
      setSettled(true);
      for (const message of group) {
        if (!message.comparison) continue;
        const named = told[message.comparison.side];
        deeds.place({
          ...message,
          ...(named ? { model: named.model, version: named.version } : {}),
          comparison: { ...message.comparison, settled: choice },
        });
      }
      const picked = group.find((message) => message.comparison?.side === choice);
      if (picked) deeds.turn(picked);
    });
  return (
    <div className="choose" role="group" aria-label={t("compare.question")}>
      <p>{t("compare.question")}</p>
      <div className="chips">
        {CHOICES.map((choice) => (
          <button key={choice} type="button" className="chip" disabled={busy} onClick={() => void choose(choice)}>
            {t(`compare.choices.${choice}`)}
          </button>
        ))}
      </div>
      {problem && (
        <p className="problem" role="alert">
          {problem}
        </p>
      )}
    </div>
  );
}
