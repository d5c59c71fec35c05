import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { useCommon } from "../context";
import { failureText, get, patch, post, remove } from "../lib/api";
import { date, visible } from "../lib/format";
import type { Memory, Page } from "../lib/types";
import { useToast } from "../ui/toast";
import { useAction, useLoaded } from "../ui/use";

const LONGEST = 1_000;

/** What is remembered of the person: seen, changed and deleted here, and nowhere kept beside. */
export function MemoriesSection() {
  const { t } = useTranslation();
  const { me, settings, saveSettings } = useCommon();
  const say = useToast();
  const memories = useLoaded(() => get<Page<Memory>>("/api/me/memories"), []);
  const [text, setText] = useState("");
  const { busy, problem, run } = useAction();
  const add = async (event: FormEvent) => {
    event.preventDefault();
    const done = await run(() => post("/api/me/memories", { text: text.trim() }));
    if (!done) return;
    setText("");
    memories.reload();
  };
  const rows = memories.data?.data ?? [];
  return (
    <>
      <p className="quiet">{t("memories.about")}</p>
      {me?.person && (
        <button
          type="button"
          className="switch"
          role="switch"
          aria-checked={settings.memory}
          onClick={() => void saveSettings({ memory: !settings.memory }).catch((error: unknown) => say({ text: failureText(error) }))}
        >
          <span className="switch-track" aria-hidden="true" />
          {t("memories.use")}
        </button>
      )}
      <form className="line-form" onSubmit={(event) => void add(event)}>
        <label className="field">
          <span>{t("memories.new")}</span>
          <input type="text" dir="auto" required maxLength={LONGEST} value={text} onChange={(event) => setText(event.target.value)} />
        </label>
        <button type="submit" className="button" disabled={busy || !text.trim()}>
          {t("memories.add")}
        </button>
      </form>
      {(problem || memories.problem) && (
        <p className="problem" role="alert">
          {problem || memories.problem}
        </p>
      )}
      {memories.data && !rows.length && <p className="quiet">{t("memories.none")}</p>}
      <ul className="rows">
        {rows.map((memory) => (
          <MemoryRow key={memory.id} memory={memory} onChange={memories.reload} />
        ))}
      </ul>
    </>
  );
}

function MemoryRow({ memory, onChange }: { memory: Memory; onChange: () => void }) {
  const { t } = useTranslation();
  const [text, setText] = useState<string | null>(null);
  const { busy, problem, run } = useAction();
  const path = `/api/me/memories/${memory.id}`;
  const save = async (event: FormEvent) => {
    event.preventDefault();
    if (await run(() => patch(path, { text: text?.trim() }))) {
      setText(null);
      onChange();
    }
  };
  if (text !== null) {
    return (
      <li>
        <form className="line-form" onSubmit={(event) => void save(event)}>
          <label className="field">
            <span>{t("memories.edit")}</span>
            <input type="text" dir="auto" required autoFocus maxLength={LONGEST} value={text} onChange={(event) => setText(event.target.value)} />
          </label>
          <button type="submit" className="button" disabled={busy || !text.trim()}>
            {t("ui.save")}
          </button>
          <button type="button" className="plain" onClick={() => setText(null)}>
            {t("ui.cancel")}
          </button>
        </form>
        {problem && <p className="problem" role="alert">{problem}</p>}
      </li>
    );
  }
  return (
    <li>
      <span>
        <span dir="auto" className="block">{visible(memory.text)}</span>
        <span className="quiet small">{date(memory.created)}</span>
        {problem && <span className="problem block" role="alert">{problem}</span>}
      </span>
      <span className="row-actions">
        <button type="button" className="plain" onClick={() => setText(memory.text)} aria-label={t("memories.editOne", { text: memory.text.slice(0, 60) })}>
          {t("chat.edit")}
        </button>
        <button
          type="button"
          className="plain"
          disabled={busy}
          aria-label={t("memories.deleteOne", { text: memory.text.slice(0, 60) })}
          onClick={() => void run(() => remove(path)).then((done) => done && onChange())}
        >
          {t("ui.delete")}
        </button>
      </span>
    </li>
  );
}
