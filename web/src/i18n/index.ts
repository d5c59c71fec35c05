import i18n from "i18next";
import { initReactI18next } from "react-i18next";
import type { Language } from "../lib/types";
import { en } from "./en";

export const LANGUAGES = { en: "English", es: "Español", fr: "Français", de: "Deutsch", zh: "中文", ar: "العربية" } as const;
export type Spoken = keyof typeof LANGUAGES;

const RIGHT_TO_LEFT = new Set<Spoken>(["ar"]);
const LOADERS: Record<Exclude<Spoken, "en">, () => Promise<object>> = {
  es: async () => (await import("./es")).es,
  fr: async () => (await import("./fr")).fr,
  de: async () => (await import("./de")).de,
  zh: async () => (await import("./zh")).zh,
  ar: async () => (await import("./ar")).ar,
};

void i18n.use(initReactI18next).init({
  lng: "en",
  fallbackLng: "en",
  resources: { en: { translation: en } },
  interpolation: { escapeValue: false }, // React escapes
  initAsync: false,
});

/** The language that was chosen, else the first of the browser's that is spoken here. */
export function spokenOf(chosen: Language, browser: readonly string[]): Spoken {
  if (chosen) return chosen;
  for (const wanted of browser) {
    const short = wanted.toLowerCase().split("-")[0] ?? "";
    if (short in LANGUAGES) return short as Spoken;
  }
  return "en";
}

/** Speaks a language; English where its texts cannot be fetched. */
export async function speak(language: Spoken): Promise<void> {
  if (language !== "en" && !i18n.hasResourceBundle(language, "translation")) {
    try {
      i18n.addResourceBundle(language, "translation", await LOADERS[language]());
    } catch {
      return; // the pages stay in the language that they are in
    }
  }
  await i18n.changeLanguage(language);
  document.documentElement.lang = language;
  document.documentElement.dir = RIGHT_TO_LEFT.has(language) ? "rtl" : "ltr";
}

export default i18n;
