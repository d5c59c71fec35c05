import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { get, put } from "../lib/api";
import type { Page } from "../lib/types";
import { Confirm } from "../ui/dialog";
import { useToast } from "../ui/toast";
import { useAction, useLoaded } from "../ui/use";

interface Group {
  name: string;
  about: string;
  /** May use models that are not released to everybody yet. */
  early: boolean;
  limits: Record<string, number>;
  /** How many are in it. */
  people?: number;
}

const LIMITS = ["requests_per_minute", "tokens_per_minute", "streams"] as const;
const NEW: Group = { name: "", about: "", early: false, limits: {} };

export function GroupsSection() {
  const { t } = useTranslation();
  const { data, problem, reload } = useLoaded(() => get<Page<Group>>("/api/operator/groups"), []);
  return (
    <>
      <p className="quiet">{t("operator.groupsAbout")}</p>
      {problem && <p className="problem" role="alert">{problem}</p>}
      {(data?.data ?? []).map((group) => (
        <GroupForm key={group.name} group={group} all={data?.data ?? []} onSaved={reload} />
      ))}
      {data && <GroupForm key={`new-${data.data.length}`} group={NEW} all={data.data} onSaved={reload} />}
    </>
  );
}

interface FormProps {
  group: Group;
  all: Group[];
  onSaved: () => void;
}

/** The groups are kept as one list; each form puts its own into it, or takes it out. */
function GroupForm({ group, all, onSaved }: FormProps) {
  const { t } = useTranslation();
  const say = useToast();
  const [values, setValues] = useState(group);
  const [leaving, setLeaving] = useState(false);
  const { busy, problem, run } = useAction();
  const isNew = group.name === "";
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const own = { ...values, name: values.name.trim() };
    await keep(isNew ? [...all, own] : all.map((one) => (one.name === group.name ? own : one)));
  };
  const keep = async (groups: Group[]) => {
    const data = groups.map(({ name, about, early, limits }) => ({ name, about, early, limits }));
    if (!(await run(() => put("/api/operator/groups", { data })))) return;
    say({ text: t("ui.saved") });
    onSaved();
  };
  const limit = (name: string, text: string) => {
    const { [name]: _, ...others } = values.limits;
    setValues({ ...values, limits: text === "" ? others : { ...others, [name]: Number(text) } });
  };
  return (
    <form className="panel stack" onSubmit={(event) => void submit(event)} aria-label={isNew ? t("operator.newGroup") : group.name}>
      <h3>{isNew ? t("operator.newGroup") : <bdi>{group.name}</bdi>}</h3>
      <div className="field-row">
        {isNew && (
          <label className="field">
            <span>{t("operator.groupName")}</span>
            <input type="text" required maxLength={80} value={values.name} onChange={(event) => setValues({ ...values, name: event.target.value })} />
          </label>
        )}
        <label className="field">
          <span>{t("operator.groupAbout")}</span>
          <input type="text" dir="auto" maxLength={500} value={values.about} onChange={(event) => setValues({ ...values, about: event.target.value })} />
        </label>
      </div>
      <div className="field-row">
        {LIMITS.map((name) => (
          <label className="field" key={name}>
            <span>{t(`operator.limits.${name}`)}</span>
            <input
              type="number"
              min={0}
              value={values.limits[name] ?? ""}
              placeholder={t("operator.noLimit")}
              onChange={(event) => limit(name, event.target.value)}
            />
          </label>
        ))}
      </div>
      <label className="check">
        <input type="checkbox" checked={values.early} onChange={(event) => setValues({ ...values, early: event.target.checked })} />
        {t("operator.early")}
      </label>
      {problem && <p className="problem" role="alert">{problem}</p>}
      <div className="row-actions">
        <button type="submit" className={isNew ? "button" : "plain"} disabled={busy || !values.name.trim()}>
          {t(isNew ? "operator.addGroup" : "ui.save")}
        </button>
        {!isNew && (
          <button type="button" className="plain" onClick={() => setLeaving(true)}>
            {t("ui.delete")}
          </button>
        )}
      </div>
      {leaving && (
        <Confirm
          title={t("operator.deleteGroup")}
          text={t("operator.deleteGroupText", { name: group.name, count: group.people ?? 0 })}
          action={t("ui.delete")}
          danger
          onConfirm={() => void keep(all.filter((one) => one.name !== group.name))}
          onClose={() => setLeaving(false)}
        />
      )}
    </form>
  );
}
