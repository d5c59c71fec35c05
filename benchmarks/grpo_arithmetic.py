"""Sums never taught, before and after reinforcement learning on training sums that is rewarded by the exact answer.

Three models are measured, as in DeepSeek-R1 (2025), cold start and then RL:

- sft: the fine-tuned model of a finished starter build (`chatwright demo --no-serve -w FOLDER`), which is only read;
- cold: that model after a few demonstrations of sums worked out step by step, mixed with its old demonstrations;
- grpo: the cold model after GRPO on training sums.

cold - sft is owed to demonstrations, grpo - cold to RL. Held-out sums are compositions that no set asks or states;
taught ones are training compositions in wordings that no set holds. The starter world's grader judges, which reads the
way and the words around the number too; the other skills are measured for what is lost. Intervals draw compositions
and, over several runs, seeds. Target: RL alone lifts held-out sums by 15 points, in minutes of one core.
"""

from __future__ import annotations

import json
import re
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _common import machine, parser, report, say

PARTS = ("heldout", "taught", "heldout_number", "taught_number")
"""Sums graded with all that is said of them; and by the number alone, which is what the verifier pays."""
MODELS = ("sft", "cold", "grpo")
LIFTS = {"grpo_over_sft": ("grpo", "sft"), "grpo_over_cold": ("grpo", "cold"), "cold_over_sft": ("cold", "sft")}
KEPT_BY = ("worked", "cold_epochs", "cold_mix", "practised", "wordings", "heldout", "taught", "others", "watched")
COLOURS = ("#3d7dca", "#c2571a", "#2f8f5b", "#7a4fb5", "#8a8f98")


@dataclass(slots=True)
class Questions:
    """What one seed practises on and is measured by."""

    heldout: Sequence[Any]
    taught: Sequence[Any]
    others: Sequence[Any]
    practised: Sequence[Any]
    worked: Sequence[Any]
    demonstrations: Sequence[Any]


@dataclass(slots=True)
class Measured:
    """Graded answers of one model: 1 or 0 for each sum and each of PARTS, gold for the other skills."""

    right: dict[str, list[float]] = field(default_factory=dict)
    worked: float = 0.0
    gold: float = 0.0
    gold_of: dict[str, float] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)


def questions(world: Path, seed: int, chosen: Any) -> Questions:
    """Draws every set and holds what may not meet apart."""
    from chatwright import starter
    from chatwright.cycle.run import read_all
    from chatwright.records import Demonstration, Prompt

    def rows(name: str, read: Any) -> list[Any]:
        return read_all([world / f"{name}.jsonl.gz"], read)

    demonstrations = rows("demonstrations", Demonstration.from_json)
    practised = starter.balanced(
        starter.skill_prompts(seed, "arithmetic", "train", chosen.practised), chosen.wordings
    )  # fmt: skip
    worked = starter.worked_sums(seed, chosen.worked)
    known = {m.content for row in (*demonstrations, *worked, *practised) for m in row.messages if m.role == "user"}
    fresh = [p for p in starter.skill_prompts(2000 + seed, "arithmetic", "train", 20 * chosen.taught)
             if p.messages[-1].content not in known]  # fmt: skip
    taught = starter.balanced(fresh, 3)[: chosen.taught]
    heldout = starter.skill_prompts(1000 + seed, "arithmetic", "heldout", chosen.heldout)
    others = [p for p in rows("heldout_prompts", Prompt.from_json) if p.skill != "arithmetic"][: chosen.others]
    learned = {p.truth["key"] for p in practised} | {d.meta["key"] for d in worked}
    assert not learned & {p.truth["key"] for p in heldout}, "a held-out sum would be practised"
    return Questions(heldout, taught, others, practised, worked, demonstrations)


def measure(model: Path, asked: Questions, settings: Any, seed: int) -> Measured:
    from chatwright import starter
    from chatwright.engine import Engine, SamplingParams, answer
    from chatwright.train.verifiers import ExactAnswer

    engine = Engine.load(model, device="cpu")
    sampling = SamplingParams(**settings.evaluate.sampling.model_dump())
    made, scores = Measured(), {}
    for name, prompts in (("heldout", asked.heldout), ("taught", asked.taught), ("others", asked.others)):
        texts = [c.text.strip() for c in answer(engine, [p.messages for p in prompts], sampling, seed=seed)]
        grades = [starter.grade(p, text) for p, text in zip(prompts, texts, strict=True)]
        if name == "others":
            for prompt, grade in zip(prompts, grades, strict=True):
                scores.setdefault(prompt.skill, []).append(grade.score)
            continue
        made.right[name] = [float(bool(g.correct)) for g in grades]
        made.right[f"{name}_number"] = ExactAnswer()(prompts, texts)
        if name == "heldout":
            made.worked = statistics.fmean(bool(re.search(r"\d [-+x] \d+:", text)) for text in texts)
            made.shown = {p.messages[-1].content: text for p, text in zip(prompts[:16], texts, strict=False)}
    made.gold_of = {skill: round(statistics.fmean(s), 4) for skill, s in sorted(scores.items())}
    made.gold = statistics.fmean(made.gold_of.values())
    return made


def cold_start(start: Any, asked: Questions, out: Path, seed: int, chosen: Any) -> Any:
    """Few demonstrations of working out, at half the rates of fine-tuning, mixed with the old ones."""
    from chatwright.config import OptimConfig, SftConfig
    from chatwright.progress import Progress
    from chatwright.train import sft

    rates = OptimConfig(muon_lr=0.01, adam_lr=0.003, embed_lr=0.05, muon_momentum=0.9, adam_beta1=0.7)
    config = SftConfig(optim=rates, epochs=chosen.cold_epochs)
    mixed = [sft.Mixed(asked.demonstrations, chosen.cold_mix)] if chosen.cold_mix else []
    return sft.run(config, start.path, asked.worked, out, Progress(), seed=seed, parents={"sft": start.id},
                   mixed=mixed, name="cold")  # fmt: skip


class Watch:
    """The share of held-out sums right while GRPO goes on; the time it takes is not the training's."""

    def __init__(self, start: Path, prompts: Sequence[Any], settings: Any, seed: int) -> None:
        from chatwright.engine import SamplingParams
        from chatwright.model.checkpoint import load_checkpoint

        loaded = load_checkpoint(start)
        self.tokenizer, self.template, self.prompts, self.seed = loaded.tokenizer, loaded.template, prompts, seed
        self.sampling = SamplingParams(**settings.evaluate.sampling.model_dump())
        self.shares: list[float] = []
        self.seconds = 0.0

    def __call__(self, stage: Any, model: Any) -> None:
        from chatwright import starter
        from chatwright.engine import Engine, answer

        started = time.process_time()
        engine = Engine(model, self.tokenizer, self.template, max_batch=64)
        said = answer(engine, [p.messages for p in self.prompts], self.sampling, seed=self.seed)
        right = [bool(starter.grade(p, c.text.strip()).correct) for p, c in zip(self.prompts, said, strict=True)]
        self.shares.append(round(statistics.fmean(right), 4))
        say(f"    held-out sums right: {self.shares[-1]}; {said[0].text.strip()!r}")
        self.seconds += time.process_time() - started


def one_run(workspace: Path, seed: int, settings: Any, chosen: Any) -> dict[str, Any]:
    from chatwright.progress import Progress
    from chatwright.train import grpo
    from chatwright.train.verifiers import ExactAnswer
    from chatwright.workspace import Workspace

    space = Workspace(workspace)
    start = space.find("sft")
    asked = questions(space.find("starter world").path, seed, chosen)
    measured, seconds = {"sft": measure(start.path, asked, settings, seed)}, {}  # of CPU time: a busy core waits
    with tempfile.TemporaryDirectory(prefix="chatwright-grpo-") as folder:
        begun = time.process_time()
        cold = cold_start(start, asked, Path(folder) / "cold", seed, chosen)
        seconds["cold_start"] = round(time.process_time() - begun, 1)
        measured["cold"] = measure(cold.path, asked, settings, seed)
        tell(workspace, seed, measured)
        watch = Watch(cold.path, asked.heldout[: chosen.watched], settings, seed)
        begun = time.process_time()
        made = grpo.run(settings.grpo, cold.path, ExactAnswer(), asked.practised, Path(folder) / "out",
                        Progress(terminal=True), seed=seed, parents={"sft": cold.id},
                        sample=watch if chosen.watched else None)  # fmt: skip
        seconds["grpo"] = round(time.process_time() - begun - watch.seconds, 1)
        measured["grpo"] = measure(made.path, asked, settings, seed)
    tell(workspace, seed, measured)
    return {"workspace": workspace.name, "seed": seed, "cpu_seconds": seconds, **told(asked, measured),
            "practised": len(asked.practised), "kl": round(made.manifest.figures["kl"], 3),
            "heldout_every": settings.grpo.evaluate_every, "heldout_curve": watch.shares,
            "curve": [{k: round(v, 4) for k, v in row.items()} for row in made.manifest.figures["curve"]]}  # fmt: skip


def kept_run(workspace: Path, seed: int, settings: Any, chosen: Any) -> dict[str, Any]:
    """The run as --keep holds it, where it was made with the same settings; else made now, and kept."""
    if not chosen.keep:
        return one_run(workspace, seed, settings, chosen)
    asked = {"grpo": settings.grpo.model_dump(), "sampling": settings.evaluate.sampling.model_dump(),
             "options": {name: getattr(chosen, name) for name in KEPT_BY}}  # fmt: skip
    file = chosen.keep / f"{workspace.name}-seed-{seed}.json"
    if file.exists():
        kept = json.loads(file.read_text("utf-8"))
        if kept["asked"] != asked:
            raise SystemExit(f"{file} was made with other settings; name another folder with --keep")
        return kept["run"]
    made = one_run(workspace, seed, settings, chosen)
    chosen.keep.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"asked": asked, "run": made}), "utf-8")
    return made


def tell(workspace: Path, seed: int, measured: dict[str, Measured]) -> None:
    for name, m in measured.items():
        shares = {part: round(statistics.fmean(right), 3) for part, right in m.right.items()}
        say(f"{workspace.name} seed {seed} {name}: right {shares}, worked out {m.worked:.3f}, other gold {m.gold:.3f}")


def told(asked: Questions, measured: dict[str, Measured]) -> dict[str, Any]:
    """One run's figures; every interval draws compositions."""
    from chatwright.evaluate.statistics import bootstrap_mean

    keys = {part: [p.truth["key"] for p in getattr(asked, part.partition("_")[0])] for part in PARTS}

    def figures(values: Sequence[float], part: str) -> list[float]:
        made = bootstrap_mean(values, keys[part])
        return [round(v, 4) for v in (made.value, made.low, made.high)]

    def lift(part: str, after: str, before: str) -> list[float]:
        pairs = zip(measured[after].right[part], measured[before].right[part], strict=True)
        return figures([a - b for a, b in pairs], part)

    return {
        **{part: {name: figures(m.right[part], part) for name, m in measured.items()} for part in keys},
        "lifts": {part: {name: lift(part, *pair) for name, pair in LIFTS.items()} for part in keys},
        "by_composition": {part: by_composition(keys[part], {n: m.right[part] for n, m in measured.items()})
                           for part in keys},
        "worked_out": {name: round(m.worked, 4) for name, m in measured.items()},
        "gold_of_other_skills": {name: round(m.gold, 4) for name, m in measured.items()},
        "gold_by_skill": {name: m.gold_of for name, m in measured.items()},
        "answers": {name: m.shown for name, m in measured.items()},
    }  # fmt: skip


def by_composition(keys: Sequence[str], right: dict[str, list[float]]) -> dict[str, list[float]]:
    """Per composition: how often it was asked, then the number right for each of MODELS."""
    table = {key: [count, *(0.0 for _ in right)] for key, count in sorted(Counter(keys).items())}
    for place, values in enumerate(right.values(), start=1):
        for key, value in zip(keys, values, strict=True):
            table[key][place] += value
    return {key: [int(v) for v in row] for key, row in table.items()}


def crossed(runs: Sequence[dict[str, Any]], part: str, after: str, before: str | None = None) -> dict[str, Any]:
    """Mean over runs with a bootstrap interval that draws runs and, independently, compositions (95 %)."""
    import numpy as np

    names = sorted({key for run in runs for key in run["by_composition"][part]})
    table = np.array([[run["by_composition"][part].get(key, [0] * 4) for key in names] for run in runs], np.float64)
    asked, right = table[..., 0], table[..., 1 + MODELS.index(after)]
    if before:
        right = right - table[..., 1 + MODELS.index(before)]
    generator = np.random.Generator(np.random.Philox(key=0))
    means = []
    for _ in range(4000):
        rows = generator.integers(0, len(runs), len(runs))[:, None]
        columns = generator.integers(0, len(names), len(names))[None, :]
        means.append((right[rows, columns].sum(1) / asked[rows, columns].sum(1)).mean())
    low, high = np.quantile(means, [0.025, 0.975])
    each = right.sum(1) / asked.sum(1)
    return {"mean": round(float(each.mean()), 4), "low": round(float(low), 4), "high": round(float(high), 4),
            "runs": [round(float(v), 4) for v in each], "compositions": len(names)}  # fmt: skip


def plot(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """Reward and held-out sums over the iterations, then KL and length; a colour a run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    panels = figure.subplots(1, 3, width_ratios=(2, 1, 1))
    for colour, run in zip(COLOURS, runs, strict=False):
        steps = [row["step"] for row in run["curve"]]
        panels[0].plot(steps, [row["reward"] for row in run["curve"]], color=colour, lw=0.8, alpha=0.6)
        at = [0, *(min(n * run["heldout_every"], steps[-1]) for n in range(1, len(run["heldout_curve"]) + 1))]
        shares = [run["heldout"]["cold"][0], *run["heldout_curve"][:-1], run["heldout"]["grpo"][0]]
        panels[0].plot(at[: len(shares)], shares, "o-", ms=4, color=colour, label=f"seed {run['seed']}")
        panels[0].axhline(run["heldout"]["sft"][0], color=colour, lw=0.8, ls=":")
        for axes, key in zip(panels[1:], ("kl", "length"), strict=True):
            axes.plot(steps, [row[key] for row in run["curve"]], color=colour, lw=1)
    titles = ("held-out sums right (dots), reward of practised ones (thin), SFT (dotted)", "KL, nats an answer",
              "length, tokens")  # fmt: skip
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, fontsize=8)
        axes.set_xlabel("iteration", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    panels[0].set_ylim(0, 1)
    panels[0].legend(loc="lower right", fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def arguments() -> Any:
    options = parser(__doc__ or "")
    options.add_argument("--workspace", type=Path, nargs="+", required=True, help="finished starter builds")
    options.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options.add_argument("--worked", type=int, default=1000, help="demonstrations of sums worked out in the cold start")
    options.add_argument("--cold-epochs", type=float, default=2.0, help="passes over them")
    options.add_argument("--cold-mix", type=float, default=0.5, help="share of the old demonstrations in every step")
    options.add_argument("--practised", type=int, default=4000, help="training prompts drawn to practise on")
    options.add_argument("--wordings", type=int, default=8, help="kept of these, at most, for each composition")
    options.add_argument("--heldout", type=int, default=600, help="held-out prompts of arithmetic to measure on")
    options.add_argument("--taught", type=int, default=300, help="taught sums in unseen wordings to measure on")
    options.add_argument("--others", type=int, default=400, help="held-out prompts of other skills to measure on")
    options.add_argument("--watched", type=int, default=200, help="held-out sums to look at on the way; 0: do not look")
    options.add_argument("--keep", type=Path, help="folder of finished runs; one that is there is not made again")
    options.add_argument("--plot", type=Path, help="file for a picture of the curves")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--set", action="append", default=[], help="a setting, as section.key=value")
    return options.parse_args()


def main() -> None:
    chosen = arguments()

    from chatwright.machine import prepare_process, use_threads

    prepare_process()
    use_threads(chosen.threads)
    from chatwright.settings import load_settings

    settings = load_settings("starter", overrides=chosen.set)
    runs = [kept_run(workspace, seed, settings, chosen) for workspace in chosen.workspace for seed in chosen.seeds]
    if chosen.plot:
        plot(runs, chosen.plot)
    report(
        "grpo_arithmetic", settings=settings.grpo.model_dump(),
        cold_start={"worked": chosen.worked, "epochs": chosen.cold_epochs, "mix": chosen.cold_mix},
        right={part: {name: crossed(runs, part, name) for name in MODELS} for part in PARTS},
        lifts={part: {name: crossed(runs, part, *pair) for name, pair in LIFTS.items()} for part in PARTS},
        gold_of_other_skills={name: round(statistics.fmean(r["gold_of_other_skills"][name] for r in runs), 4)
                              for name in MODELS},
        cpu_seconds={n: round(statistics.fmean(r["cpu_seconds"][n] for r in runs), 1) for n in ("cold_start", "grpo")},
        runs=runs, machine=machine(),
    )  # fmt: skip


if __name__ == "__main__":
    main()
