import type { Sample, Stage } from "../lib/build";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { visible } from "../lib/format";
import { modelTitle } from "../lib/names";
import { SPEAKERS } from "./stages";

const SHOWN = 4;

interface Props {
  samples: Map<string, Map<string, Sample>>;
  stages: Stage[];
}

/** The same prompts put to every stage: one row a prompt, one column a stage, filled as the stages speak. */
export function Samples({ samples, stages }: Props) {
  const { t } = useTranslation();
  const [all, setAll] = useState(false);
  const spoken = new Set([...samples.values()].flatMap((answers) => [...answers.keys()]));
  const speakers = stages.filter((stage) => stage.name in SPEAKERS || spoken.has(stage.name));
  return (
    <section className="card samples" aria-labelledby="samples-title">
      <h2 id="samples-title">{t("build.samples")}</h2>
      {samples.size === 0 ? (
        <p className="quiet">
          {t("build.noSamples")}
        </p>
      ) : (
        [...samples].slice(0, all ? samples.size : SHOWN).map(([prompt, answers]) => (
          <article key={prompt}>
            <h3 className="prompt">{prompt}</h3>
            <ul className="answers">
              {speakers.map((stage) => (
                <Spoken key={stage.name} stage={stage} sample={answers.get(stage.name)} />
              ))}
            </ul>
          </article>
        ))
      )}
      {samples.size > SHOWN && (
        <button type="button" className="plain more" aria-expanded={all} onClick={() => setAll(!all)}>
          {all ? t("build.fewer") : t("build.more", { count: samples.size - SHOWN })}
        </button>
      )}
    </section>
  );
}

function Spoken({ stage, sample }: { stage: Stage; sample: Sample | undefined }) {
  const { t } = useTranslation();
  const speaker = SPEAKERS[stage.name];
  const live = stage.state === "running";
  return (
    <li className={sample ? (live ? "spoken live" : "spoken") : "spoken silent"}>
      <h4>
        {speaker ? modelTitle(speaker) : stage.title}
        {sample && live && <span className="quiet"> {t("build.atStep", { step: sample.done })}</span>}
      </h4>
      <p>{sample ? visible(sample.response.trim()) || t("build.saidNothing") : t(live ? "build.learning" : "build.notYet")}</p>
    </li>
  );
}
