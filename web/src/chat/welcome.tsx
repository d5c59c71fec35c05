import type { TFunction } from "i18next";
import { useTranslation } from "react-i18next";
import { parameters } from "../lib/format";
import type { Model } from "../lib/types";

interface Props {
  model: Model | undefined;
  starters: string[];
  temporary: boolean;
  onStart: (text: string) => void;
}

/** The empty conversation: who this is, what it knows, and a few ways to begin. */
export function Welcome({ model, starters, temporary, onStart }: Props) {
  const { t } = useTranslation();
  return (
    <div className="welcome">
      <h2>{t(model ? "welcome.title" : "welcome.nobody")}</h2>
      <p className="quiet">{model ? about(t, model) : t("welcome.noModel")}</p>
      {temporary && <p className="quiet">{t("chat.temporaryAbout")}</p>}
      {!model && (
        <a className="button" href="#/build">
          {t("welcome.watch")}
        </a>
      )}
      {model && starters.length > 0 && (
        <ul className="starters" aria-label={t("welcome.starters")}>
          {starters.slice(0, 6).map((text) => (
            <li key={text}>
              <button type="button" dir="auto" onClick={() => onStart(text)}>
                {text}
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

function about(t: TFunction, model: Model): string {
  const { parameters: size, source, state } = model;
  const what = size ? t("welcome.sized", { parameters: parameters(size) }) : t("welcome.runs");
  const knows = source === "simulated" ? t("welcome.smallWorld") : size && size < 3e8 ? t("welcome.small") : "";
  return [what, knows, state === "ready" ? "" : t("welcome.starting")].filter(Boolean).join(" ");
}
