import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { useCommon } from "../context";
import { patch, post } from "../lib/api";
import { date } from "../lib/format";
import type { Person, Role } from "../lib/types";
import { copyText, useAction } from "../ui/use";
import { Listed, usePaged } from "./paged";

interface Known extends Person {
  disabled: boolean;
}

const ROLES: Role[] = ["user", "labeller", "operator", "admin"];
const namesOf = (text: string) => text.split(",").map((one) => one.trim()).filter(Boolean);

export function PeopleSection() {
  const people = usePaged<Known>("/api/operator/people");
  return (
    <>
      <InviteForm />
      <Listed list={people}>
        <ul className="rows">
          {(people.rows ?? []).map((person) => (
            <PersonRow key={person.id} person={person} onChange={people.change} onFailed={people.reload} />
          ))}
        </ul>
      </Listed>
    </>
  );
}

interface RowProps {
  person: Known;
  onChange: (person: Known) => void;
  onFailed: () => void;
}

function PersonRow({ person, onChange, onFailed }: RowProps) {
  const { t } = useTranslation();
  const { me } = useCommon();
  const { busy, problem, run } = useAction();
  const [groups, setGroups] = useState(person.groups.join(", "));
  const own = me?.person?.id === person.id;
  const change = (values: Partial<Known>) =>
    run(async () => {
      const found = await patch<Partial<Known>>(`/api/operator/people/${person.id}`, values);
      onChange({ ...person, ...values, ...found });
    }).then((done) => done || onFailed());
  return (
    <li>
      <span>
        <strong dir="auto">{person.name}</strong>
        {person.disabled && <span className="badge warm">{t("operator.disabled")}</span>}
        <span className="quiet small block">
          <bdi>{person.email}</bdi> · {t("operator.since", { date: date(person.created) })}
        </span>
        {problem && <span className="problem small block" role="alert">{problem}</span>}
      </span>
      <span className="row-actions">
        <label>
          <span className="hidden">{t("operator.roleOf", { name: person.name })}</span>
          <select value={person.role} disabled={busy || own || me?.person?.role !== "admin"} onChange={(event) => void change({ role: event.target.value as Role })}>
            {ROLES.map((role) => (
              <option key={role} value={role}>
                {t(`account.roles.${role}`)}
              </option>
            ))}
          </select>
        </label>
        <form
          className="inline-form"
          onSubmit={(event) => {
            event.preventDefault();
            void change({ groups: namesOf(groups) });
          }}
        >
          <label>
            <span className="hidden">{t("operator.groupsOf", { name: person.name })}</span>
            <input type="text" dir="auto" value={groups} placeholder={t("account.groups")} onChange={(event) => setGroups(event.target.value)} />
          </label>
          <button type="submit" className="plain" disabled={busy || groups === person.groups.join(", ")}>
            {t("ui.save")}
          </button>
        </form>
        <button type="button" className="plain" disabled={busy || own} onClick={() => void change({ disabled: !person.disabled })}>
          {t(person.disabled ? "operator.enable" : "operator.disable")}
        </button>
      </span>
    </li>
  );
}

function InviteForm() {
  const { t } = useTranslation();
  const { me } = useCommon();
  const [role, setRole] = useState<Role>("user");
  const [groups, setGroups] = useState("");
  const [email, setEmail] = useState("");
  const [link, setLink] = useState("");
  const [copied, setCopied] = useState(false);
  const { busy, problem, run } = useAction();
  const offered: Role[] = me?.person?.role === "admin" ? ROLES : ["user"];
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    await run(async () => {
      const body = { role, groups: namesOf(groups), ...(email.trim() ? { email: email.trim() } : {}) };
      const made = await post<{ url_token?: string; token?: string }>("/api/operator/invitations", body);
      setLink(`${location.origin}/#/invitation/${made.url_token ?? made.token}`);
      setCopied(false);
      setEmail("");
    });
  };
  return (
    <form className="panel stack" onSubmit={(event) => void submit(event)}>
      <h3>{t("operator.invite")}</h3>
      <div className="field-row">
        <label className="field">
          <span>{t("operator.emailOptional")}</span>
          <input type="email" dir="ltr" autoComplete="off" value={email} onChange={(event) => setEmail(event.target.value)} />
        </label>
        <label className="field">
          <span>{t("account.role")}</span>
          <select value={role} onChange={(event) => setRole(event.target.value as Role)}>
            {offered.map((one) => (
              <option key={one} value={one}>
                {t(`account.roles.${one}`)}
              </option>
            ))}
          </select>
        </label>
        <label className="field">
          <span>{t("operator.groupsComma")}</span>
          <input type="text" dir="auto" value={groups} onChange={(event) => setGroups(event.target.value)} />
        </label>
      </div>
      {link && (
        <div className="once" role="status">
          <label className="field">
            <span>{t("share.once")}</span>
            <input type="text" readOnly dir="ltr" value={link} onFocus={(event) => event.target.select()} />
          </label>
          <button type="button" className="button" onClick={() => void copyText(link).then(setCopied)}>
            {t(copied ? "chat.copied" : "share.copy")}
          </button>
        </div>
      )}
      {problem && <p className="problem" role="alert">{problem}</p>}
      <div>
        <button type="submit" className="button" disabled={busy}>
          {t("operator.makeInvitation")}
        </button>
      </div>
    </form>
  );
}
