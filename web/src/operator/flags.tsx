import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { patch } from "../lib/api";
import { dateTime, visible } from "../lib/format";
import { useAction } from "../ui/use";
import { Said, type Spoken } from "./said";
import { Listed, usePaged } from "./paged";

interface Flag {
  id: string;
  at?: string;
  created?: string;
  state: string;
  reason: string;
  text: string;
  note?: string;
  covers?: string;
  version?: string;
  model?: string;
  /** What the person let be read: the answer alone, or the conversation up to it. */
  message?: Spoken | null;
  messages?: Spoken[];
}

const STATES = ["open", "upheld", "dismissed"];

/** What people reported. Only what they let be read is shown. */
export function FlagsSection() {
  const { t } = useTranslation();
  const [state, setState] = useState("open");
  const flags = usePaged<Flag>(`/api/operator/flags?state=${state}`);
  return (
    <>
      <p className="quiet">{t("operator.flagsAbout")}</p>
      <div className="filters">
        <label className="field">
          <span>{t("operator.state")}</span>
          <select value={state} onChange={(event) => setState(event.target.value)}>
            {STATES.map((one) => (
              <option key={one} value={one}>
                {t(`operator.states.${one}`)}
              </option>
            ))}
          </select>
        </label>
      </div>
      <Listed list={flags}>
        {(flags.rows ?? []).map((flag) => (
          <FlagCard key={flag.id} flag={flag} onDone={flags.reload} />
        ))}
      </Listed>
    </>
  );
}

function FlagCard({ flag, onDone }: { flag: Flag; onDone: () => void }) {
  const { t } = useTranslation();
  const [state, setState] = useState(flag.state);
  const [note, setNote] = useState(flag.note ?? "");
  const { busy, problem, run } = useAction();
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (await run(() => patch(`/api/operator/flags/${flag.id}`, { state, note }))) onDone();
  };
  const said = flag.messages ?? (flag.message ? [flag.message] : []);
  return (
    <article className="panel stack">
      <h3>
        {t(`flag.reasons.${flag.reason}`, { defaultValue: flag.reason })}
        <span className="quiet small"> · {dateTime(flag.at ?? flag.created ?? "")}</span>
      </h3>
      {flag.text && <p dir="auto" className="quoted">{visible(flag.text)}</p>}
      {said.length ? <Said messages={said} /> : <p className="quiet">{t("operator.notShown")}</p>}
      <form className="field-row" onSubmit={(event) => void submit(event)}>
        <label className="field">
          <span>{t("operator.state")}</span>
          <select value={state} onChange={(event) => setState(event.target.value)}>
            {STATES.map((one) => (
              <option key={one} value={one}>
                {t(`operator.states.${one}`)}
              </option>
            ))}
          </select>
        </label>
        <label className="field">
          <span>{t("operator.note")}</span>
          <input type="text" dir="auto" maxLength={2_000} value={note} onChange={(event) => setNote(event.target.value)} />
        </label>
        <button type="submit" className="button" disabled={busy}>
          {t("ui.save")}
        </button>
      </form>
      {problem && <p className="problem" role="alert">{problem}</p>}
    </article>
  );
}
