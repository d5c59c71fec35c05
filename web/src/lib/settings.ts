import type { Settings } from "./types";

export const DEFAULTS: Settings = {
  language: "", theme: "auto", instructions: "", about: "", memory: true, training: false, remote_images: "ask",
}; // prettier-ignore

const KEY = "chatwright.settings";

/** Language and theme as this browser keeps them: the first paint needs them before the server has said a word. */
export function localSettings(storage: Storage): Settings {
  try {
    const kept = JSON.parse(storage.getItem(KEY) ?? "{}") as Partial<Settings>;
    const { language = DEFAULTS.language, theme = DEFAULTS.theme } = kept;
    return { ...DEFAULTS, language, theme };
  } catch {
    return DEFAULTS;
  }
}

export function keepLocally(storage: Storage, { language, theme }: Settings): void {
  try {
    storage.setItem(KEY, JSON.stringify({ language, theme }));
  } catch {
    // Without storage the choice holds until the page is closed.
  }
}
