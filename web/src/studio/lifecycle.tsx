import i18n from "i18next";
import { useTranslation } from "react-i18next";
import type { Stage } from "../lib/build";
import { duration, figureLabel, figureText, percent } from "../lib/format";
import { KEY_FIGURES } from "./stages";

interface Props {
  stages: Stage[];
  chosen: string;
  onChoose: (name: string) => void;
}

/** The life of the model as a line of stages; each is a button that shows its details. */
export function Lifecycle({ stages, chosen, onChoose }: Props) {
  const { t } = useTranslation();
  return (
    <nav className="lifecycle" aria-label={t("build.stages")}>
      <ol>
        {stages.map((stage) => (
          <li key={stage.name} className={stage.state}>
            <button
              type="button"
              aria-pressed={stage.name === chosen}
              aria-current={stage.state === "running" ? "step" : undefined}
              onClick={() => onChoose(stage.name)}
            >
              <Marker stage={stage} />
              <span className="stage-title">{stage.title}</span>
              <span className="stage-state">{stateText(stage)}</span>
            </button>
          </li>
        ))}
      </ol>
    </nav>
  );
}

const ROUND = 2 * Math.PI * 9;

function Marker({ stage }: { stage: Stage }) {
  const share = stage.total ? Math.min(stage.done / stage.total, 1) : 0;
  return (
    <svg className="marker" viewBox="0 0 24 24" width="24" height="24" aria-hidden="true">
      <circle className="marker-ground" cx="12" cy="12" r="9" />
      {stage.state === "running" && (
        <circle
          className="marker-share"
          cx="12"
          cy="12"
          r="9"
          strokeDasharray={`${share * ROUND} ${ROUND}`}
          transform="rotate(-90 12 12)"
        />
      )}
      {stage.state === "done" && <path className="marker-done" d="m8 12.4 2.8 2.8L16.2 9.4" />}
      {stage.state === "interrupted" && <path className="marker-pause" d="M10 9v6M14 9v6" />}
    </svg>
  );
}

function stateText(stage: Stage): string {
  switch (stage.state) {
    case "waiting":
      return stage.seconds_left ? `${i18n.t("build.waiting")} · ${duration(stage.seconds_left)}` : i18n.t("build.waiting");
    case "interrupted":
      return i18n.t("build.stateInterrupted");
    case "running": {
      const share = stage.total ? percent(Math.floor((100 * stage.done) / stage.total) / 100) : i18n.t("build.running");
      return stage.seconds_left ? `${share} · ${i18n.t("build.left", { time: duration(stage.seconds_left) })}` : share;
    }
    case "done":
      return keyFigure(stage) ?? i18n.t("build.doneIn", { time: duration(stage.seconds) });
  }
}

function keyFigure(stage: Stage): string | null {
  const known = { ...stage.figures, ...stage.metrics };
  const name = (KEY_FIGURES[stage.name] ?? []).find((one) => known[one] !== undefined);
  const value = name === undefined ? undefined : known[name];
  return name === undefined || value === undefined ? null : `${figureText(name, value)} ${figureLabel(name)}`;
}
