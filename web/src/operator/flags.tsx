import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { get, patch } from "../lib/api";
import { dateTime, visible } from "../lib/format";
import { useAction } from "../ui/use";
import { Said, type Spoken } from "./said";
import { Listed, usePaged } from "./paged";

interface Flag {
  id: string;
  at: string;
  state: string;
  reason: string;
  text: string;
  note?: string;
  covers?: string;
  version?: string;
  model?: string;
  /** Only where one report is asked for: what the person let be read. */
  messages?: Spoken[];
}

const STATES = ["open", "resolved"];

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
  const [said, setSaid] = useState<Spoken[] | null>(null);
  const read = () => run(async () => setSaid((await get<Flag>(`/api/operator/flags/${flag.id}`)).messages ?? []));
  return (
    <article className="panel stack">
      <h3>
        {t(`flag.reasons.${flag.reason}`, { defaultValue: flag.reason })}
        <span className="quiet small"> · {dateTime(flag.at)}{flag.version && <> · <bdi>{flag.version}</bdi></>}</span>
      </h3>
      {flag.text && <p dir="auto" className="quoted">{visible(flag.text)}</p>}
      {said === null ? (
        <div>
          <button type="button" className="plain" disabled={busy} onClick={() => void read()}>
            {t(flag.covers === "conversation" ? "operator.readAll" : "operator.read")}
          </button>
        </div>
      ) : (
        <Said messages={said} />
      )}
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
