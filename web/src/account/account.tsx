import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { useCommon } from "../context";
import { get, post, remove } from "../lib/api";
import { dateTime } from "../lib/format";
import type { Page } from "../lib/types";
import { useToast } from "../ui/toast";
import { useAction, useLoaded } from "../ui/use";
import { Field } from "./entry";

interface Session {
  id: string;
  created: string;
  seen: string;
  agent: string;
  current: boolean;
}

/** Who one is here, one's password, and where one is signed in. */
export function AccountSection() {
  const { t } = useTranslation();
  const { me } = useCommon();
  const person = me?.person;
  if (!person) return null;
  return (
    <>
      <dl className="facts">
        <div>
          <dt>{t("account.email")}</dt>
          <dd><bdi>{person.email}</bdi></dd>
        </div>
        <div>
          <dt>{t("account.role")}</dt>
          <dd>{t(`account.roles.${person.role}`)}</dd>
        </div>
        {person.groups.length > 0 && (
          <div>
            <dt>{t("account.groups")}</dt>
            <dd><bdi>{person.groups.join(", ")}</bdi></dd>
          </div>
        )}
      </dl>
      {person.password !== false && <PasswordForm />}
      <Sessions />
    </>
  );
}

function PasswordForm() {
  const { t } = useTranslation();
  const say = useToast();
  const [old, setOld] = useState("");
  const [fresh, setFresh] = useState("");
  const { busy, problem, run } = useAction();
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (!(await run(() => post("/api/me/password", { old, new: fresh })))) return;
    setOld("");
    setFresh("");
    say({ text: t("account.passwordChanged") });
  };
  return (
    <form className="panel stack" onSubmit={(event) => void submit(event)}>
      <h3>{t("account.changePassword")}</h3>
      <Field label={t("account.oldPassword")} type="password" complete="current-password" value={old} onChange={setOld} />
      <Field label={t("account.newPassword")} type="password" complete="new-password" hint={t("account.passwordHint", { count: 10 })} value={fresh} onChange={setFresh} />
      {problem && <p className="problem" role="alert">{problem}</p>}
      <div>
        <button type="submit" className="button" disabled={busy}>
          {t("account.changePassword")}
        </button>
      </div>
    </form>
  );
}

function Sessions() {
  const { t } = useTranslation();
  const { reloadMe } = useCommon();
  const sessions = useLoaded(() => get<Page<Session>>("/api/me/sessions"), []);
  const { busy, problem, run } = useAction();
  const everywhere = async () => {
    if (!(await run(() => post("/api/sign-out-everywhere")))) return;
    location.hash = "#/sign-in";
    reloadMe();
  };
  return (
    <div className="panel">
      <h3>{t("account.sessions")}</h3>
      {(problem || sessions.problem) && <p className="problem" role="alert">{problem || sessions.problem}</p>}
      <ul className="rows">
        {(sessions.data?.data ?? []).map((session) => (
          <li key={session.id}>
            <span>
              <bdi className="block">{session.agent || t("account.unknownAgent")}</bdi>
              <span className="quiet small">{t("account.seen", { date: dateTime(session.seen) })}</span>
              {session.current && <span className="badge">{t("account.thisOne")}</span>}
            </span>
            {!session.current && (
              <button
                type="button"
                className="plain"
                disabled={busy}
                onClick={() => void run(() => remove(`/api/me/sessions/${session.id}`)).then((done) => done && sessions.reload())}
              >
                {t("account.end")}
              </button>
            )}
          </li>
        ))}
      </ul>
      <button type="button" className="plain" disabled={busy} onClick={() => void everywhere()}>
        {t("account.signOutEverywhere")}
      </button>
    </div>
  );
}
