import { useState } from "react";
import { useTranslation } from "react-i18next";
import { type Curve, drawable, type Stage } from "../lib/build";
import { duration, figureLabel, figureText } from "../lib/format";
import { CurvePlot } from "./curve";

interface Props {
  stage: Stage;
  curves: Record<string, Curve> | undefined;
  notes: string[] | undefined;
}

/** One stage: what it does in plain words, its curve and its newest figures. */
export function Details({ stage, curves, notes }: Props) {
  const { t } = useTranslation();
  const [wanted, setWanted] = useState("");
  const names = drawable(curves);
  const drawn = names.includes(wanted) ? wanted : names[0];
  const curve = drawn === undefined ? undefined : curves?.[drawn];
  return (
    <section className="card details" aria-labelledby="details-title">
      <h2 id="details-title">{stage.title}</h2>
      <p className="about">{stage.about || t(`build.about.${stage.name}`, { defaultValue: "" })}</p>
      {drawn !== undefined && curve && (
        <>
          {names.length > 1 && (
            <div className="tabs" role="group" aria-label={t("build.curve")}>
              {names.slice(0, 6).map((name) => (
                <button key={name} type="button" aria-pressed={name === drawn} onClick={() => setWanted(name)}>
                  {figureLabel(name)}
                </button>
              ))}
            </div>
          )}
          <CurvePlot key={`${stage.name}/${drawn}`} curve={curve} name={figureLabel(drawn)} total={stage.total} />
        </>
      )}
      <Figures stage={stage} />
      {notes && notes.length > 0 && (
        <ul className="notes">
          {notes.map((note, index) => (
            <li key={`${index}-${note}`}>{note}</li>
          ))}
        </ul>
      )}
    </section>
  );
}

function Figures({ stage }: { stage: Stage }) {
  const { t } = useTranslation();
  const known = Object.entries({ ...stage.figures, ...stage.metrics }).filter(([, value]) => String(value).length < 40);
  return (
    <dl className="figures">
      {stage.total > 1 && stage.state !== "waiting" && (
        <div>
          <dt>{t(stage.state === "done" ? "build.steps" : "build.step")}</dt>
          <dd>
            {figureText("", stage.done)}
            {stage.state !== "done" && <span className="quiet"> / {figureText("", stage.total)}</span>}
          </dd>
        </div>
      )}
      {stage.seconds > 0 && (
        <div>
          <dt>{t("build.time")}</dt>
          <dd>{duration(stage.seconds)}</dd>
        </div>
      )}
      {known.slice(0, 8).map(([name, value]) => (
        <div key={name}>
          <dt>{figureLabel(name)}</dt>
          <dd>{figureText(name, value)}</dd>
        </div>
      ))}
    </dl>
  );
}
