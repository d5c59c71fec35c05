import { useState } from "react";
import { useTranslation } from "react-i18next";
import { useCommon } from "../context";
import { get, offered, put, remove } from "../lib/api";
import { bytes, count, dateTime } from "../lib/format";
import type { Page } from "../lib/types";
import { Confirm, Dialog } from "../ui/dialog";
import { useToast } from "../ui/toast";
import { useAction, useLoaded } from "../ui/use";
import { Field } from "./entry";

interface Consent {
  training: boolean | null;
  version: string;
  at: string;
  chat?: string | null;
}

/** The choices, and the words that a yes or no is about now. */
interface Log extends Page<Consent> {
  version?: string;
  wording?: string;
}

interface Stored {
  counts: Record<string, number>;
  bytes: Record<string, number>;
  used: (string | Record<string, unknown>)[];
}

/** What may be learned, what is kept, and how to take it along or delete it. */
export function DataSection() {
  const { me } = useCommon();
  return (
    <>
      {me?.person && <ConsentCard />}
      {me?.person && <StoredCard />}
      <DeleteChats />
      {me?.person && <DeleteAccount />}
    </>
  );
}

function ConsentCard() {
  const { t } = useTranslation();
  const { me, setMe } = useCommon();
  const history = useLoaded(() => offered<Log | null>("/api/me/consent", null), []);
  const { busy, problem, run } = useAction();
  if (!me || history.data === null) return history.problem ? <p className="problem" role="alert">{history.problem}</p> : null;
  const log = history.data;
  const training = me.settings.training;
  const flip = () =>
    run(async () => {
      const said = await put<Consent>("/api/me/consent", { training: !training, ...(log?.version ? { version: log.version } : {}) });
      setMe({ ...me, settings: { ...me.settings, training: said.training === true } });
      history.reload();
    });
  return (
    <div className="panel">
      <h3>{t("data.training")}</h3>
      <p>{t("data.trainingAbout")}</p>
      {log.wording && (
        <p className="quoted small" lang="en" dir="ltr">
          {log.wording}
        </p>
      )}
      <button type="button" className="switch" role="switch" aria-checked={training} aria-disabled={busy} onClick={() => !busy && void flip()}>
        <span className="switch-track" aria-hidden="true" />
        {t("data.allow")}
      </button>
      <p className="quiet small">{t(training ? "data.allowed" : "data.refused")}</p>
      {problem && <p className="problem" role="alert">{problem}</p>}
      {history.data.data.length > 0 && (
        <details>
          <summary>{t("data.history")}</summary>
          <ul className="rows small">
            {history.data.data.map((one, index) => (
              <li key={index}>
                <span>
                  {t(one.training === null ? "data.asAccount" : one.training ? "data.on" : "data.off")}
                  {one.chat && <a href={`#/chat/${one.chat}`}> {t("data.oneChat")}</a>}
                </span>
                <span className="quiet">
                  {dateTime(one.at)} · {t("data.textVersion", { version: one.version })}
                </span>
              </li>
            ))}
          </ul>
        </details>
      )}
    </div>
  );
}

function StoredCard() {
  const { t } = useTranslation();
  const stored = useLoaded(() => offered<Stored | null>("/api/me/data", null), []);
  const kinds = Object.keys(stored.data?.counts ?? {});
  const used = stored.data?.used ?? [];
  return (
    <div className="panel">
      <h3>{t("data.stored")}</h3>
      {stored.problem && <p className="problem" role="alert">{stored.problem}</p>}
      {stored.data && (
        <>
          <dl className="facts">
            {kinds.map((kind) => (
              <div key={kind}>
                <dt>{t(`data.kinds.${kind}`, { defaultValue: kind.replaceAll("_", " ") })}</dt>
                <dd>
                  {count(stored.data?.counts[kind] ?? 0)}
                  {stored.data?.bytes[kind] ? ` · ${bytes(stored.data.bytes[kind])}` : ""}
                </dd>
              </div>
            ))}
          </dl>
          <h4>{t("data.used")}</h4>
          {used.length ? (
            <ul className="plain-list">
              {used.map((one, index) => (
                <li key={index}>
                  <bdi>{typeof one === "string" ? one : String(one["name"] ?? one["id"] ?? JSON.stringify(one))}</bdi>
                </li>
              ))}
            </ul>
          ) : (
            <p className="quiet">{t("data.unused")}</p>
          )}
        </>
      )}
      <p>
        <a className="button plain" href="/api/me/export" download="">
          {t("data.export")}
        </a>
      </p>
    </div>
  );
}

function DeleteChats() {
  const { t } = useTranslation();
  const say = useToast();
  const [asked, setAsked] = useState(false);
  const { busy, problem, run } = useAction();
  const erase = async () => {
    const before = await get<Page<unknown>>("/api/chats?limit=1").catch(() => null);
    if (await run(() => remove("/api/chats"))) say({ text: t(before?.data.length ? "data.chatsDeleted" : "history.deleted") });
  };
  return (
    <div className="panel">
      <h3>{t("data.deleteChats")}</h3>
      <p>{t("data.deleteChatsAbout")}</p>
      {problem && <p className="problem" role="alert">{problem}</p>}
      <button type="button" className="button danger" disabled={busy} onClick={() => setAsked(true)}>
        {t("data.deleteChats")}
      </button>
      {asked && (
        <Confirm
          title={t("data.deleteChats")}
          text={t("data.deleteChatsAbout")}
          action={t("data.deleteChats")}
          danger
          onConfirm={() => void erase()}
          onClose={() => setAsked(false)}
        />
      )}
    </div>
  );
}

function DeleteAccount() {
  const { t } = useTranslation();
  const { me, reloadMe } = useCommon();
  const [asked, setAsked] = useState(false);
  const [secret, setSecret] = useState("");
  const { busy, problem, run } = useAction();
  const password = me?.mode === "people" && me.person?.password !== false;
  const erase = async () => {
    const body = password ? { password: secret } : { confirm: secret };
    if (!(await run(() => remove("/api/me", body)))) return;
    location.hash = me?.mode === "people" ? "#/sign-in" : "#/chat";
    reloadMe();
  };
  return (
    <div className="panel">
      <h3>{t("data.deleteAccount")}</h3>
      <p>{t("data.deleteAccountAbout")}</p>
      <button type="button" className="button danger" onClick={() => setAsked(true)}>
        {t("data.deleteAccount")}
      </button>
      {asked && (
        <Dialog title={t("data.deleteAccount")} onClose={() => setAsked(false)}>
          <form
            onSubmit={(event) => {
              event.preventDefault();
              void erase();
            }}
          >
            <p>{t("data.deleteAccountAbout")}</p>
            <Field
              label={t(password ? "account.password" : "data.typeDelete")}
              type={password ? "password" : "text"}
              complete={password ? "current-password" : "off"}
              value={secret}
              onChange={setSecret}
              focus
            />
            {problem && <p className="problem" role="alert">{problem}</p>}
            <div className="dialog-actions">
              <button type="button" className="plain" onClick={() => setAsked(false)}>
                {t("ui.cancel")}
              </button>
              <button type="submit" className="button danger" disabled={busy || !secret}>
                {t("data.deleteForever")}
              </button>
            </div>
          </form>
        </Dialog>
      )}
    </div>
  );
}
