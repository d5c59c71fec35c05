import { type FormEvent, type ReactNode, useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { useCommon } from "../context";
import { get, post } from "../lib/api";
import type { Me, Role } from "../lib/types";
import { useAction, useLoaded } from "../ui/use";

interface Props {
  way: "setup" | "invitation" | "sign-in";
  token: string;
  /** One word about a sign-in elsewhere that came to nothing. */
  problem: string;
}

const SHORTEST_PASSWORD = 10;

/** The ways in: signing in, making the first account, taking up an invitation, setting a new password. */
export function EntryPage({ way, token, problem }: Props) {
  return (
    <main id="main" className="entry">
      <div className="card">
        {way === "setup" ? <SetupForm token={token} /> : way === "invitation" ? <InvitationForm token={token} /> : <SignInForm problem={problem} />}
      </div>
    </main>
  );
}

/** Sends a form; whoever is in afterwards goes to where they wanted to go. */
function useEntry() {
  const { setMe } = useCommon();
  const action = useAction();
  const enter = (path: string, body: unknown) =>
    action.run(async () => {
      const me = await post<Me>(path, body);
      // The sign-in page also stands in the place of any other: then its address stays.
      if (/^#\/(sign-in|setup|invitation)/.test(location.hash)) location.hash = "#/chat";
      setMe(me);
    });
  return { ...action, enter };
}

interface FormProps {
  title: string;
  about?: string;
  action: string;
  busy: boolean;
  problem: string;
  onSubmit: () => void;
  children: ReactNode;
}

function EntryForm({ title, about, action, busy, problem, onSubmit, children }: FormProps) {
  const alert = useRef<HTMLParagraphElement>(null);
  useEffect(() => {
    if (problem) alert.current?.focus();
  }, [problem]);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!busy) onSubmit();
  };
  return (
    <form onSubmit={submit}>
      <h1>{title}</h1>
      {about && <p className="quiet">{about}</p>}
      {children}
      {problem && (
        <p className="problem" role="alert" tabIndex={-1} ref={alert}>
          {problem}
        </p>
      )}
      <button type="submit" className="button" aria-disabled={busy}>
        {action}
      </button>
    </form>
  );
}

interface FieldProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
  type?: "text" | "email" | "password";
  complete: string;
  hint?: string;
  readOnly?: boolean;
  focus?: boolean;
}

export function Field({ label, value, onChange, type = "text", complete, hint, readOnly = false, focus = false }: FieldProps) {
  return (
    <label className="field">
      <span>{label}</span>
      <input
        type={type}
        value={value}
        autoComplete={complete}
        required
        readOnly={readOnly}
        autoFocus={focus}
        dir={type === "text" ? "auto" : "ltr"}
        minLength={complete === "new-password" ? SHORTEST_PASSWORD : undefined}
        maxLength={type === "password" ? 1_000 : 300}
        onChange={(event) => onChange(event.target.value)}
      />
      {hint && <span className="quiet small">{hint}</span>}
    </label>
  );
}

function SignInForm({ problem: elsewhere }: { problem: string }) {
  const { t } = useTranslation();
  const { me } = useCommon();
  const { busy, problem, enter } = useEntry();
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const oidc = me?.sign_in.oidc;
  const told = elsewhere ? t(`account.oidc.${elsewhere}`, { defaultValue: t("account.oidc.failed") }) : "";
  return (
    <>
      <EntryForm
        title={t("account.signIn")}
        about={me?.setup ? t("account.firstLink") : ""}
        action={t("account.signIn")}
        busy={busy}
        problem={problem || told}
        onSubmit={() => void enter("/api/sign-in", { email, password })}
      >
        <Field label={t("account.email")} type="email" complete="username" value={email} onChange={setEmail} focus />
        <Field label={t("account.password")} type="password" complete="current-password" value={password} onChange={setPassword} />
      </EntryForm>
      {oidc && (
        <a className="button plain" href={`/api/oidc/start?next=${encodeURIComponent(nextOf(location.hash))}`}>
          {t("account.with", { name: oidc.name })}
        </a>
      )}
    </>
  );
}

/** Where to go after signing in elsewhere, in the letters that the server lets through. */
const nextOf = (hash: string) => (/^#\/(chat|build|settings|operator)[A-Za-z0-9/_-]*$/.test(hash) ? hash.slice(1) : "/chat");

function SetupForm({ token }: { token: string }) {
  const { t } = useTranslation();
  const { busy, problem, enter } = useEntry();
  const [name, setName] = useState("");
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  return (
    <EntryForm
      title={t("account.setup")}
      about={t("account.setupAbout")}
      action={t("account.create")}
      busy={busy}
      problem={problem}
      onSubmit={() => void enter("/api/setup", { token, name, email, password })}
    >
      <Field label={t("account.name")} complete="name" value={name} onChange={setName} focus />
      <Field label={t("account.email")} type="email" complete="username" value={email} onChange={setEmail} />
      <NewPassword value={password} onChange={setPassword} />
    </EntryForm>
  );
}

function NewPassword({ value, onChange, focus = false }: { value: string; onChange: (value: string) => void; focus?: boolean }) {
  const { t } = useTranslation();
  return (
    <Field
      label={t("account.newPassword")}
      type="password"
      complete="new-password"
      hint={t("account.passwordHint", { count: SHORTEST_PASSWORD })}
      value={value}
      onChange={onChange}
      focus={focus}
    />
  );
}

interface Invited {
  purpose: string;
  role: Role;
  email: string | null;
}

function InvitationForm({ token }: { token: string }) {
  const { t } = useTranslation();
  const path = `/api/invitations/${encodeURIComponent(token)}`;
  const invited = useLoaded(() => get<Invited>(path), [path]);
  const { busy, problem, enter } = useEntry();
  const [name, setName] = useState("");
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  if (invited.problem) {
    return (
      <>
        <h1>{t("account.noInvitation")}</h1>
        <p role="alert">{invited.problem}</p>
        <p>
          <a href="#/sign-in">{t("account.signIn")}</a>
        </p>
      </>
    );
  }
  if (!invited.data) return null;
  const { email: given, purpose } = invited.data;
  if (purpose === "reset") {
    return (
      <EntryForm
        title={t("account.reset")}
        action={t("account.setPassword")}
        busy={busy}
        problem={problem}
        onSubmit={() => void enter(path, { password })}
      >
        {given && <Field label={t("account.email")} type="email" complete="username" value={given} onChange={setEmail} readOnly />}
        <NewPassword value={password} onChange={setPassword} focus />
      </EntryForm>
    );
  }
  return (
    <EntryForm
      title={t("account.invitation")}
      about={t("account.invitationAbout")}
      action={t("account.create")}
      busy={busy}
      problem={problem}
      onSubmit={() => void enter(path, { name, email: given ?? email, password })}
    >
      <Field label={t("account.name")} complete="name" value={name} onChange={setName} focus />
      <Field label={t("account.email")} type="email" complete="username" value={given ?? email} onChange={setEmail} readOnly={given !== null} />
      <NewPassword value={password} onChange={setPassword} />
    </EntryForm>
  );
}
