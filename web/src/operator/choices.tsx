import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { get, put } from "../lib/api";
import { useToast } from "../ui/toast";
import { useAction, useLoaded } from "../ui/use";

type Choice = number | string | boolean | string[];
type Choices = Record<string, Choice>;

/** What an operator may set while the place is open. */
export function ChoicesSection() {
  const { t } = useTranslation();
  const { data, problem, set } = useLoaded(() => get<Choices>("/api/operator/settings"), []);
  return (
    <>
      {problem && <p className="problem" role="alert">{problem}</p>}
      {data && <ChoicesForm key={JSON.stringify(data)} choices={data} onSaved={set} />}
      {data && <p className="quiet small">{t("operator.audited")}</p>}
    </>
  );
}

function ChoicesForm({ choices, onSaved }: { choices: Choices; onSaved: (choices: Choices) => void }) {
  const { t } = useTranslation();
  const say = useToast();
  const [values, setValues] = useState(choices);
  const { busy, problem, run } = useAction();
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const changed = Object.fromEntries(Object.entries(values).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(choices[name])));
    const done = await run(async () => {
      const found = await put<Choices | undefined>("/api/operator/settings", changed);
      onSaved({ ...values, ...found });
    });
    if (done) say({ text: t("ui.saved") });
  };
  return (
    <form className="stack" onSubmit={(event) => void submit(event)}>
      {Object.entries(values).map(([name, value]) => (
        <ChoiceField key={name} name={name} value={value} onChange={(next) => setValues({ ...values, [name]: next })} />
      ))}
      {problem && <p className="problem" role="alert">{problem}</p>}
      <div>
        <button type="submit" className="button" disabled={busy}>
          {t("ui.save")}
        </button>
      </div>
    </form>
  );
}

interface FieldProps {
  name: string;
  value: Choice;
  onChange: (value: Choice) => void;
}

function ChoiceField({ name, value, onChange }: FieldProps) {
  const { t } = useTranslation();
  const label = t(`operator.choices.${name}.name`, { defaultValue: name.replaceAll("_", " ") });
  const about = t(`operator.choices.${name}.about`, { defaultValue: "" });
  if (typeof value === "boolean") {
    return (
      <label className="check">
        <input type="checkbox" checked={value} onChange={(event) => onChange(event.target.checked)} />
        {label}
      </label>
    );
  }
  return (
    <label className="field">
      <span>{label}</span>
      {typeof value === "number" ? (
        <input type="number" min={0} step="any" required value={value} onChange={(event) => onChange(Number(event.target.value))} />
      ) : (
        <input
          type="text"
          dir="auto"
          value={Array.isArray(value) ? value.join(", ") : value}
          onChange={(event) => onChange(Array.isArray(value) ? event.target.value.split(",").map((one) => one.trim()) : event.target.value)}
        />
      )}
      {about && <span className="quiet small">{about}</span>}
    </label>
  );
}
