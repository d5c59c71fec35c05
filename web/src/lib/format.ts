import i18n from "i18next";
import { modelTitle } from "./names";

/** Numbers, times and foreign text as people read them. */

/** Text from a model with control and direction characters made visible: they must not move what stands around. */
export function visible(text: string): string {
  return text.replace(/\r\n?/g, "\n").replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g, "\u00b7");
}

export function duration(seconds: number): string {
  if (seconds < 1) return "under 1 s";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export function timeLeft(seconds: number | null): string {
  if (seconds === null) return "";
  if (seconds < 5) return "almost done";
  return seconds < 60 ? "less than a minute left" : `about ${duration(Math.max(seconds, 90))} left`;
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
  if (value >= 1e9) return `${(value / 1e9).toFixed(1)}-billion`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(value < 1e7 ? 1 : 0).replace(/\.0$/, "")}-million`;
  return count(value);
}

const percent = (value: number) => `${Math.round(value * 100)} %`;
const fixed = (digits: number) => (value: number) => value.toFixed(digits);

/** How each figure that a stage may report is called and written; others are shown as they are. */
const FIGURES: Record<string, { label: string; write: (value: number) => string }> = {
  loss: { label: "loss", write: fixed(3) },
  heldout_loss: { label: "held-out loss", write: fixed(3) },
  bits_per_byte: { label: "bits per byte", write: fixed(2) },
  perplexity: { label: "perplexity", write: fixed(1) },
  tokens_per_second: { label: "tokens a second", write: count },
  gold: { label: "held-out score", write: percent },
  pair_accuracy: { label: "held-out pairs ranked right", write: percent },
  accuracy: { label: "training pairs ranked right", write: percent },
  rater_ceiling: { label: "raters' own agreement", write: percent },
  reward: { label: "reward", write: fixed(2) },
  kl: { label: "KL to fine-tuned", write: fixed(3) },
  margin: { label: "preference margin", write: fixed(2) },
  win_rate: { label: "win rate", write: percent },
  documents: { label: "documents", write: count },
  kept: { label: "documents kept", write: count },
  dropped: { label: "documents dropped", write: count },
  bytes_per_token: { label: "bytes per token", write: fixed(2) },
  tokens: { label: "tokens of text", write: count },
  comparisons: { label: "answers compared", write: count },
  vocab_size: { label: "tokens in the vocabulary", write: count },
  lr: { label: "learning rate", write: (value) => value.toPrecision(2) },
};

export function figureLabel(name: string): string {
  if (name.endsWith(" gold")) return `${modelTitle(name.slice(0, -5))}, held out`;
  return FIGURES[name]?.label ?? name.replaceAll("_", " ");
}

export function figureText(name: string, value: number | string): string {
  if (typeof value === "string") return value;
  const write = name.endsWith(" gold") ? percent : FIGURES[name]?.write;
  if (write) return write(value);
  return Number.isInteger(value) || Math.abs(value) >= 1000 ? count(value) : String(Number(value.toPrecision(3)));
}
