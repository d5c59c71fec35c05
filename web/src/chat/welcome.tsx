import type { Model } from "../lib/api";
import { parameters } from "../lib/format";

interface Props {
  model: Model | undefined;
  starters: string[];
  onStart: (text: string) => void;
}

/** The empty conversation: who this is, what it knows, and a few ways to begin. */
export function Welcome({ model, starters, onStart }: Props) {
  return (
    <div className="welcome">
      <h2>{model ? "What would you like to ask?" : "Nobody is here yet"}</h2>
      <p className="quiet">{model ? about(model) : "No model is served. A build may still be running."}</p>
      {!model && (
        <a className="button" href="#/build">
          Watch the build
        </a>
      )}
      {model && starters.length > 0 && (
        <ul className="starters" aria-label="Ways to begin">
          {starters.slice(0, 6).map((text) => (
            <li key={text}>
              <button type="button" onClick={() => onStart(text)}>
                {text}
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

function about(model: Model): string {
  const { parameters: size, source, state } = model.metadata;
  const what = size ? `This is a ${parameters(size)}-parameter model` : "This model runs";
  const where = size ? " built on this machine" : " on this machine";
  const knows = source === "simulated" ? "; it knows only its small world" : size && size < 3e8 ? "; it is small, and often wrong" : "";
  return `${what}${where}${knows}.${state === "ready" ? "" : " It is still starting."}`;
}
