import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { useCommon } from "../context";
import { LANGUAGES } from "../i18n";
import { failureText, patch } from "../lib/api";
import type { Language, Settings, Theme } from "../lib/types";
import { useToast } from "../ui/toast";
import { useAction } from "../ui/use";

const THEMES: Theme[] = ["auto", "light", "dark"];
const LONGEST = 20_000;

export function GeneralSection() {
  const { t } = useTranslation();
  const { me, settings, saveSettings } = useCommon();
  const say = useToast();
  const save = (values: Partial<Settings>) => saveSettings(values).catch((error: unknown) => say({ text: failureText(error) }));
  return (
    <>
      <div className="field-row">
        <label className="field">
          <span>{t("settings.language")}</span>
          <select value={settings.language} onChange={(event) => void save({ language: event.target.value as Language })}>
            <option value="">{t("settings.browserLanguage")}</option>
            {Object.entries(LANGUAGES).map(([code, name]) => (
              <option key={code} value={code} lang={code}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <label className="field">
          <span>{t("settings.theme")}</span>
          <select value={settings.theme} onChange={(event) => void save({ theme: event.target.value as Theme })}>
            {THEMES.map((theme) => (
              <option key={theme} value={theme}>
                {t(`settings.themes.${theme}`)}
              </option>
            ))}
          </select>
        </label>
      </div>
      {me?.person && (
        <>
          <label className="field">
            <span>{t("settings.pictures")}</span>
            <select
              value={settings.remote_images}
              onChange={(event) => void save({ remote_images: event.target.value as Settings["remote_images"] })}
            >
              <option value="ask">{t("settings.picturesAsk")}</option>
              <option value="never">{t("settings.picturesNever")}</option>
            </select>
            <span className="quiet small">{t("settings.picturesAbout")}</span>
          </label>
          <PersonForm />
        </>
      )}
    </>
  );
}

/** What models are told of the person, and the person's name. */
function PersonForm() {
  const { t } = useTranslation();
  const { me, setMe, settings, saveSettings } = useCommon();
  const say = useToast();
  const [name, setName] = useState(me?.person?.name ?? "");
  const [instructions, setInstructions] = useState(settings.instructions);
  const [about, setAbout] = useState(settings.about);
  const { busy, problem, run } = useAction();
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const done = await run(async () => {
      await saveSettings({ instructions, about });
      if (me?.person && name.trim() !== me.person.name) {
        await patch("/api/me", { name: name.trim() });
        setMe({ ...me, person: { ...me.person, name: name.trim() }, settings: { ...me.settings, instructions, about } });
      }
    });
    if (done) say({ text: t("ui.saved") });
  };
  return (
    <form className="stack" onSubmit={(event) => void submit(event)}>
      <label className="field">
        <span>{t("account.name")}</span>
        <input type="text" dir="auto" autoComplete="name" required maxLength={100} value={name} onChange={(event) => setName(event.target.value)} />
      </label>
      <label className="field">
        <span>{t("settings.instructions")}</span>
        <textarea dir="auto" rows={5} maxLength={LONGEST} value={instructions} onChange={(event) => setInstructions(event.target.value)} />
        <span className="quiet small">{t("settings.instructionsAbout")}</span>
      </label>
      <label className="field">
        <span>{t("settings.about")}</span>
        <textarea dir="auto" rows={4} maxLength={LONGEST} value={about} onChange={(event) => setAbout(event.target.value)} />
        <span className="quiet small">{t("settings.aboutAbout")}</span>
      </label>
      {problem && (
        <p className="problem" role="alert">
          {problem}
        </p>
      )}
      <div>
        <button type="submit" className="button" disabled={busy}>
          {t("ui.save")}
        </button>
      </div>
    </form>
  );
}
