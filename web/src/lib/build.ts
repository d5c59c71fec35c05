/** The build as the page shows it: a pure fold over the events that the gateway sends. */

export interface Stage {
  name: string;
  title: string;
  about: string;
  state: "waiting" | "running" | "done" | "interrupted";
  done: number;
  total: number;
  seconds: number;
  seconds_left: number | null;
  figures: Record<string, number | string>;
  metrics: Record<string, number | string>;
  warnings: string[];
}

export interface Status {
  state: "absent" | "running" | "interrupted" | "done";
  stages: Stage[];
  seconds_left: number | null;
  silent: number | null;
  report: boolean;
}

export interface BuildEvent {
  t: number;
  stage: string;
  event: string;
  done?: number;
  prompt?: string;
  response?: string;
  text?: string;
  [figure: string]: unknown;
}

export interface Curve {
  x: number[];
  y: number[];
}

export interface Sample {
  response: string;
  done: number;
}

export interface Build {
  status: Status | null;
  /** stage → figure → curve */
  curves: Record<string, Record<string, Curve>>;
  /** prompt → stage → newest answer; prompts and stages keep the order in which they first appeared */
  samples: Map<string, Map<string, Sample>>;
  notes: Record<string, string[]>;
}

export const emptyBuild = (): Build => ({ status: null, curves: {}, samples: new Map(), notes: {} });

const NOT_FIGURES = new Set(["t", "stage", "event", "done", "total"]);
const KEPT_NOTES = 6;

/** `build` with `events` added; a resumed stage repeats steps, and the newest of a step wins. */
export function foldEvents(build: Build, events: BuildEvent[]): Build {
  const next: Build = {
    status: build.status,
    curves: { ...build.curves },
    samples: new Map([...build.samples].map(([prompt, answers]) => [prompt, new Map(answers)])),
    notes: { ...build.notes },
  };
  const touched = new Set<string>();
  for (const event of events) {
    // Metrics that name a model (an evaluation of several) are no curve of their stage.
    if (event.event === "step" || (event.event === "metrics" && !("model" in event))) addFigures(next, event, touched);
    if (event.event === "sample" && event.prompt !== undefined) {
      const answers = next.samples.get(event.prompt) ?? new Map<string, Sample>();
      answers.set(event.stage, { response: event.response ?? "", done: event.done ?? 0 });
      next.samples.set(event.prompt, answers);
    }
    if ((event.event === "note" || event.event === "warn") && event.text) {
      next.notes[event.stage] = [...(next.notes[event.stage] ?? []), event.text].slice(-KEPT_NOTES);
    }
  }
  return next;
}

function addFigures(build: Build, event: BuildEvent, touched: Set<string>): void {
  for (const [name, value] of Object.entries(event)) {
    if (NOT_FIGURES.has(name) || typeof value !== "number" || !Number.isFinite(value)) continue;
    const stage = (build.curves[event.stage] = touched.has(event.stage)
      ? (build.curves[event.stage] ?? {})
      : { ...build.curves[event.stage] });
    touched.add(event.stage);
    const key = `${event.stage}/${name}`;
    const old = stage[name] ?? { x: [], y: [] };
    const curve = touched.has(key) ? old : { x: [...old.x], y: [...old.y] };
    touched.add(key);
    stage[name] = curve;
    const at = event.done ?? 0;
    while (curve.x.length && (curve.x.at(-1) ?? 0) >= at) {
      curve.x.pop();
      curve.y.pop();
    }
    curve.x.push(at);
    curve.y.push(value);
  }
}

const CURVE_ORDER = ["reward", "loss", "kl", "heldout_loss", "bits_per_byte", "accuracy", "margin"];
const NOT_CURVES = new Set(["tokens_per_second", "lr", "seconds"]);

/** The figures of a stage worth drawing, the telling ones first. */
export function drawable(curves: Record<string, Curve> | undefined): string[] {
  const names = Object.keys(curves ?? {}).filter(
    (name) => !NOT_CURVES.has(name) && (curves?.[name]?.x.length ?? 0) >= 2,
  );
  const rank = (name: string) => (CURVE_ORDER.includes(name) ? CURVE_ORDER.indexOf(name) : CURVE_ORDER.length);
  return names.sort((a, b) => rank(a) - rank(b));
}

const TREND_POINTS = 25;

/** Exponential moving average with bias correction, over about a twenty-fifth of the points: the trend in the noise. */
export function smooth(values: number[]): number[] {
  const keep = 1 - TREND_POINTS / Math.max(values.length, 2 * TREND_POINTS);
  let average = 0;
  return values.map((value, index) => {
    average = keep * average + (1 - keep) * value;
    return average / (1 - keep ** (index + 1));
  });
}

/** Share of the build that is behind us, by time. */
export function overall(status: Status): number {
  if (status.state === "done") return 1;
  const spent = status.stages.reduce((sum, stage) => sum + stage.seconds, 0);
  if (status.seconds_left !== null) return spent / Math.max(spent + status.seconds_left, 1e-9);
  return status.stages.filter((stage) => stage.state === "done").length / Math.max(status.stages.length, 1);
}
