import i18n from "i18next";
import { modelTitle } from "./names";

/** Numbers, times and foreign text as people read them. */

/** Text from a model with control and direction characters made visible: they must not move what stands around. */
export function visible(text: string): string {
  return text.replace(/\r\n?/g, "\n").replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g, "\u00b7");
}

const amount = (value: number, unit: string, digits = 0) =>
  new Intl.NumberFormat(i18n.language, { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: digits }).format(value);

export function duration(seconds: number): string {
  if (seconds < 1) return i18n.t("build.underSecond");
  if (seconds < 90) return amount(Math.round(seconds), "second");
  if (seconds < 5400) return amount(Math.round(seconds / 60), "minute");
  return amount(seconds / 3600, "hour", 1);
}

export function timeLeft(seconds: number | null): string {
  if (seconds === null) return "";
  if (seconds < 5) return i18n.t("build.almostDone");
  return seconds < 60 ? i18n.t("build.minuteLeft") : i18n.t("build.aboutLeft", { time: duration(Math.max(seconds, 90)) });
}

export function count(value: number): string {
  return Math.round(value).toLocaleString(i18n.language);
}

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte"] as const;

export function bytes(value: number): string {
  const power = Math.min(UNITS.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(value, 1)) / 3)));
  const options = { style: "unit", unit: UNITS[power] ?? "byte", unitDisplay: "short", maximumFractionDigits: power ? 1 : 0 } as const;
  return new Intl.NumberFormat(i18n.language, options).format(value / 1000 ** power);
}

const written = (time: string | Date, options: Intl.DateTimeFormatOptions) => {
  const when = new Date(time);
  return Number.isNaN(when.getTime()) ? String(time) : new Intl.DateTimeFormat(i18n.language, options).format(when);
};
export const date = (time: string) => written(time, { dateStyle: "medium" });
export const dateTime = (time: string) => written(time, { dateStyle: "medium", timeStyle: "short" });
export const month = (time: Date) => written(time, { month: "long", year: "numeric" });

export function parameters(value: number): string {
  const digits = value >= 1e9 || value < 1e7 ? 1 : 0;
  return new Intl.NumberFormat(i18n.language, { notation: "compact", compactDisplay: "long", maximumFractionDigits: digits }).format(value);
}

export const percent = (value: number) => new Intl.NumberFormat(i18n.language, { style: "percent" }).format(value);
const fixed = (digits: number) => (value: number) =>
  value.toLocaleString(i18n.language, { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** How each figure that a stage may report is written; others are shown as they are. */
const FIGURES: Record<string, (value: number) => string> = {
  loss: fixed(3),
  heldout_loss: fixed(3),
  bits_per_byte: fixed(2),
  perplexity: fixed(1),
  tokens_per_second: count,
  gold: percent,
  pair_accuracy: percent,
  accuracy: percent,
  rater_ceiling: percent,
  reward: fixed(2),
  kl: fixed(3),
  margin: fixed(2),
  win_rate: percent,
  documents: count,
  kept: count,
  dropped: count,
  bytes_per_token: fixed(2),
  tokens: count,
  comparisons: count,
  vocab_size: count,
  lr: (value) => value.toPrecision(2),
};

export function figureLabel(name: string): string {
  if (name.endsWith(" gold")) return i18n.t("build.heldOut", { model: modelTitle(name.slice(0, -5)) });
  return i18n.t(`figures.${name}`, { defaultValue: name.replaceAll("_", " ") });
}

export function figureText(name: string, value: number | string): string {
  if (typeof value === "string") return value;
  const write = name.endsWith(" gold") ? percent : FIGURES[name];
  if (write) return write(value);
  return Number.isInteger(value) || Math.abs(value) >= 1000 ? count(value) : String(Number(value.toPrecision(3)));
}
