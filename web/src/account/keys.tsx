import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { useCommon } from "../context";
import { get, post, remove } from "../lib/api";
import { date } from "../lib/format";
import type { Page } from "../lib/types";
import { Confirm } from "../ui/dialog";
import { copyText, useAction, useLoaded } from "../ui/use";

export interface ApiKey {
  id: string;
  name: string;
  scopes: string[];
  created: string;
  expires: string | null;
  used: string | null;
}

const SCOPES = ["chat", "files", "feedback", "api", "operator"];
const DAYS = [7, 30, 90, 365];

/** Keys for programs. A key is shown once, and kept only as a hash. */
export function KeysSection() {
  const { t } = useTranslation();
  const keys = useLoaded(() => get<Page<ApiKey>>("/api/me/keys"), []);
  const [leaving, setLeaving] = useState<ApiKey | null>(null);
  const { problem, run } = useAction();
  return (
    <>
      <p className="quiet">{t("keys.about")}</p>
      <NewKey onMade={keys.reload} />
      {(problem || keys.problem) && <p className="problem" role="alert">{problem || keys.problem}</p>}
      {keys.data && !keys.data.data.length && <p className="quiet">{t("keys.none")}</p>}
      <ul className="rows">
        {(keys.data?.data ?? []).map((key) => (
          <li key={key.id}>
            <KeyFacts row={key} />
            <button type="button" className="plain" onClick={() => setLeaving(key)} aria-label={t("keys.revokeOne", { name: key.name })}>
              {t("keys.revoke")}
            </button>
          </li>
        ))}
      </ul>
      {leaving && (
        <Confirm
          title={t("keys.revokeTitle")}
          text={t("keys.revokeText", { name: leaving.name })}
          action={t("keys.revoke")}
          danger
          onConfirm={() => void run(() => remove(`/api/me/keys/${leaving.id}`)).then((done) => done && keys.reload())}
          onClose={() => setLeaving(null)}
        />
      )}
    </>
  );
}

export function KeyFacts({ row }: { row: ApiKey }) {
  const { t } = useTranslation();
  return (
    <span>
      <strong className="block" dir="auto">{row.name}</strong>
      <span className="quiet small block">
        <bdi>{row.id}…</bdi> · {row.scopes.map((scope) => t(`keys.scopes.${scope}`, { defaultValue: scope })).join(", ")}
      </span>
      <span className="quiet small block">
        {t("keys.made", { date: date(row.created) })} · {row.expires ? t("keys.expires", { date: date(row.expires) }) : t("keys.forever")} ·{" "}
        {row.used ? t("keys.used", { date: date(row.used) }) : t("keys.unused")}
      </span>
    </span>
  );
}

function NewKey({ onMade }: { onMade: () => void }) {
  const { t } = useTranslation();
  const { me } = useCommon();
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState(["chat"]);
  const [days, setDays] = useState(90);
  const [made, setMade] = useState("");
  const [copied, setCopied] = useState(false);
  const { busy, problem, run } = useAction();
  const operates = me?.person?.role === "operator" || me?.person?.role === "admin";
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    await run(async () => {
      const key = await post<{ key: string }>("/api/me/keys", { name: name.trim(), scopes, ...(days ? { expires_days: days } : {}) });
      setMade(key.key);
      setCopied(false);
      setName("");
      onMade();
    });
  };
  return (
    <form className="panel stack" onSubmit={(event) => void submit(event)}>
      <h3>{t("keys.new")}</h3>
      {made && (
        <div className="once" role="status">
          <label className="field">
            <span>{t("keys.once")}</span>
            <input type="text" readOnly dir="ltr" value={made} onFocus={(event) => event.target.select()} />
          </label>
          <button type="button" className="button" onClick={() => void copyText(made).then(setCopied)}>
            {t(copied ? "chat.copied" : "chat.copy")}
          </button>
        </div>
      )}
      <div className="field-row">
        <label className="field">
          <span>{t("keys.name")}</span>
          <input type="text" dir="auto" required maxLength={100} value={name} onChange={(event) => setName(event.target.value)} />
        </label>
        <label className="field">
          <span>{t("keys.lasts")}</span>
          <select value={days} onChange={(event) => setDays(Number(event.target.value))}>
            {DAYS.map((count) => (
              <option key={count} value={count}>
                {t("keys.days", { count })}
              </option>
            ))}
            <option value={0}>{t("keys.forever")}</option>
          </select>
        </label>
      </div>
      <fieldset className="choices">
        <legend>{t("keys.may")}</legend>
        {SCOPES.filter((scope) => scope !== "operator" || operates).map((scope) => (
          <label key={scope}>
            <input
              type="checkbox"
              checked={scopes.includes(scope)}
              onChange={(event) => setScopes(event.target.checked ? [...scopes, scope] : scopes.filter((one) => one !== scope))}
            />
            {t(`keys.scopes.${scope}`)}
          </label>
        ))}
      </fieldset>
      {problem && <p className="problem" role="alert">{problem}</p>}
      <div>
        <button type="submit" className="button" disabled={busy || !name.trim() || !scopes.length}>
          {t("keys.make")}
        </button>
      </div>
    </form>
  );
}
