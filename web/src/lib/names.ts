import i18n from "i18next";

const KNOWN = new Set(["base", "sft", "ppo", "dpo", "assistant"]);

/** What a model is called on the pages, and what it is in a few words. */
export const modelTitle = (name: string) => (KNOWN.has(name) ? i18n.t(`models.${name}.title`) : name);
export const modelAbout = (name: string, role: string) => (KNOWN.has(name) ? i18n.t(`models.${name}.about`) : role);
