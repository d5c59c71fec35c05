import type { Sample, Stage } from "../lib/build";
import { useState } from "react";
import { visible } from "../lib/format";
import { SPEAKERS } from "./stages";

const SHOWN = 4;

interface Props {
  samples: Map<string, Map<string, Sample>>;
  stages: Stage[];
}

/** The same prompts put to every stage: one row a prompt, one column a stage, filled as the stages speak. */
export function Samples({ samples, stages }: Props) {
  const [all, setAll] = useState(false);
  const spoken = new Set([...samples.values()].flatMap((answers) => [...answers.keys()]));
  const speakers = stages.filter((stage) => stage.name in SPEAKERS || spoken.has(stage.name));
  return (
    <section className="card samples" aria-labelledby="samples-title">
      <h2 id="samples-title">What it says now</h2>
      {samples.size === 0 ? (
        <p className="quiet">
          The same few prompts are put to the model after every stage. Its first words appear here while it pretrains.
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
          {all ? "Show fewer" : `Show ${samples.size - SHOWN} more`}
        </button>
      )}
    </section>
  );
}

function Spoken({ stage, sample }: { stage: Stage; sample: Sample | undefined }) {
  const live = stage.state === "running";
  return (
    <li className={sample ? (live ? "spoken live" : "spoken") : "spoken silent"}>
      <h4>
        {SPEAKERS[stage.name] ?? stage.title}
        {sample && live && <span className="quiet"> at step {sample.done}</span>}
      </h4>
      <p>{sample ? visible(sample.response.trim()) || "(nothing)" : live ? "learning…" : "not yet"}</p>
    </li>
  );
}
