import { expect, test } from "vitest";
import { type BuildEvent, drawable, emptyBuild, foldEvents, overall, smooth, type Status } from "./build";

const step = (done: number, loss: number, stage = "sft"): BuildEvent => ({ t: 0, stage, event: "step", done, total: 9, loss });

test("a resumed stage repeats steps and the newest wins", () => {
  let build = foldEvents(emptyBuild(), [step(1, 5), step(2, 4), step(3, 3)]);
  build = foldEvents(build, [step(2, 4.5), step(4, 2)]);
  expect(build.curves["sft"]?.["loss"]).toEqual({ x: [1, 2, 4], y: [5, 4.5, 2] });
});

test("folding in one batch equals folding one by one", () => {
  const events = [step(1, 5), step(2, 4, "ppo"), step(2, 4), step(3, 3, "ppo"), step(2, 3.5)];
  const one = events.reduce((build, event) => foldEvents(build, [event]), emptyBuild());
  expect(foldEvents(emptyBuild(), events)).toEqual(one);
});

test("a fold leaves what was folded before unchanged", () => {
  const before = foldEvents(emptyBuild(), [step(1, 5)]);
  const copy = structuredClone(before);
  foldEvents(before, [step(2, 4), { t: 0, stage: "sft", event: "sample", prompt: "p", response: "r" }]);
  expect(before).toEqual(copy);
});

test("the newest sample of each stage is kept, in order of first appearance", () => {
  const sample = (stage: string, prompt: string, response: string): BuildEvent => ({ t: 0, stage, event: "sample", prompt, response, done: 1 });
  const build = foldEvents(emptyBuild(), [
    sample("pretrain", "b", "x"), sample("pretrain", "a", "y"), sample("pretrain", "b", "z"), sample("sft", "b", "w"),
  ]); // prettier-ignore
  expect([...build.samples.keys()]).toEqual(["b", "a"]);
  expect(build.samples.get("b")?.get("pretrain")?.response).toBe("z");
  expect(build.samples.get("b")?.get("sft")?.response).toBe("w");
});

test("only figures with a curve are drawable, and not-a-number never reaches one", () => {
  const build = foldEvents(emptyBuild(), [
    { t: 0, stage: "ppo", event: "step", done: 1, kl: 0.1, reward: 1, tokens_per_second: 5, bad: Number.NaN },
    { t: 0, stage: "ppo", event: "step", done: 2, kl: 0.2, reward: 2, tokens_per_second: 6, once: 1 },
  ]);
  expect(drawable(build.curves["ppo"])).toEqual(["reward", "kl"]);
});

test("smoothing keeps a constant and its length", () => {
  const values = Array.from({ length: 500 }, () => 3);
  expect(smooth(values).every((value) => Math.abs(value - 3) < 1e-9)).toBe(true);
  expect(smooth(values)).toHaveLength(500);
});

test("progress is the share of the time, or of the stages where no time is known", () => {
  const stage = (state: "done" | "waiting", seconds: number) => ({ state, seconds }) as Status["stages"][number];
  const status: Status = { state: "running", stages: [stage("done", 30), stage("waiting", 0)], seconds_left: 90, silent: 0, report: false };
  expect(overall(status)).toBeCloseTo(0.25);
  expect(overall({ ...status, seconds_left: null })).toBeCloseTo(0.5);
  expect(overall({ ...status, state: "done" })).toBe(1);
});
