"""Held-out sums before and after reinforcement learning on training sums, rewarded by the exact answer alone.

Begins with the fine-tuned model of a finished starter build (`chatwright demo --no-serve -w FOLDER`), which it only
reads. No sum that is measured (held-out compositions) is ever practised. The gold grader of the starter world, which
also reads the words around the number, judges; the other skills are measured beside it, for what is lost.
Target: 15 points more sums right than the fine-tuned model, in about 3 to 5 minutes of one core.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _common import machine, parser, report, say


def interval(values: Sequence[float]) -> dict[str, Any]:
    """Mean with Student's 95 % interval over runs; none from a single one."""
    from scipy.stats import t

    mean = statistics.fmean(values)
    if len(values) < 2:
        return {"mean": round(mean, 4), "low": None, "high": None, "n": len(values)}
    half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    return {"mean": round(mean, 4), "low": round(mean - half, 4), "high": round(mean + half, 4), "n": len(values)}


def measure(model: Path, sums: Sequence[Any], others: Sequence[Any], settings: Any, seed: int) -> dict[str, Any]:
    """Graded answers: `sums` right or wrong, `others` with their gold score, and a few answers to look at."""
    from chatwright import starter
    from chatwright.engine import Engine, SamplingParams, answer

    engine = Engine.load(model, device="cpu")
    sampling = SamplingParams(**settings.evaluate.sampling.model_dump())
    said = answer(engine, [p.messages for p in (*sums, *others)], sampling, seed=seed)
    texts = [c.text.strip() for c in said]
    grades = [starter.grade(p, text) for p, text in zip((*sums, *others), texts, strict=True)]
    shown = {p.messages[-1].content: text for p, text in zip(sums[:8], texts, strict=False)}
    scores: dict[str, list[float]] = {}
    for prompt, grade in zip(others, grades[len(sums) :], strict=True):
        scores.setdefault(prompt.skill, []).append(grade.score)
    return {
        "right": [float(bool(g.correct)) for g in grades[: len(sums)]],
        "gold": [statistics.fmean(s) for _, s in sorted(scores.items())], "shown": shown,
    }  # fmt: skip


def one_run(workspace: Path, seed: int, settings: Any, chosen: Any) -> dict[str, Any]:
    from chatwright import starter
    from chatwright.cycle.run import read_all
    from chatwright.evaluate.statistics import bootstrap_mean
    from chatwright.progress import Progress
    from chatwright.records import Prompt
    from chatwright.train import grpo
    from chatwright.train.verifiers import ExactAnswer
    from chatwright.workspace import Workspace

    space = Workspace(workspace)
    sft, world = space.find("sft"), space.find("starter world")
    sums = starter.skill_prompts(1000 + seed, "arithmetic", "heldout", chosen.heldout)
    others = [
        p for p in read_all([world.path / "heldout_prompts.jsonl.gz"], Prompt.from_json) if p.skill != "arithmetic"
    ]
    practised = starter.skill_prompts(seed, "arithmetic", "train", chosen.practised)
    assert not {p.truth["key"] for p in sums} & {p.truth["key"] for p in practised}
    before = measure(sft.path, sums, others, settings, seed)
    with tempfile.TemporaryDirectory(prefix="chatwright-grpo-") as folder:
        started = time.perf_counter()
        made = grpo.run(settings.grpo, sft.path, ExactAnswer(), practised, Path(folder) / "out",
                        Progress(terminal=True), seed=seed, parents={"sft": sft.id})  # fmt: skip
        seconds = time.perf_counter() - started
        after = measure(made.path, sums, others, settings, seed)
    keys = [p.truth["key"] for p in sums]
    lift = bootstrap_mean([a - b for a, b in zip(after["right"], before["right"], strict=True)], keys)
    shares = {name: bootstrap_mean(m["right"], keys) for name, m in (("before", before), ("after", after))}
    say(f"{workspace.name} seed {seed}: {shares['before']} -> {shares['after']}, lift {lift}, {seconds:.0f} s")
    return {
        "workspace": workspace.name, "seed": seed, "seconds": round(seconds, 1),
        **{name: [round(v, 4) for v in (s.value, s.low, s.high)] for name, s in shares.items()},
        "lift": [round(v, 4) for v in (lift.value, lift.low, lift.high)],
        "gold_of_other_skills": [round(statistics.fmean(m["gold"]), 4) for m in (before, after)],
        "kl": round(made.manifest.figures["kl"], 3),
        "curve": [{k: round(v, 4) for k, v in row.items()} for row in made.manifest.figures["curve"]],
        "answers_before": before["shown"], "answers_after": after["shown"],
    }  # fmt: skip


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--workspace", type=Path, nargs="+", required=True, help="finished starter builds")
    options.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options.add_argument("--heldout", type=int, default=600, help="held-out prompts of arithmetic to measure on")
    options.add_argument("--practised", type=int, default=2000, help="training prompts of arithmetic")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--set", action="append", default=[], help="a setting, as section.key=value")
    chosen = options.parse_args()

    from chatwright.machine import prepare_process, use_threads

    prepare_process()
    use_threads(chosen.threads)
    from chatwright.config import load_settings

    settings = load_settings("starter", overrides=chosen.set)
    runs = [one_run(workspace, seed, settings, chosen) for workspace in chosen.workspace for seed in chosen.seeds]
    report(
        "grpo_arithmetic", settings=settings.grpo.model_dump(),
        before=interval([r["before"][0] for r in runs]), after=interval([r["after"][0] for r in runs]),
        lift=interval([r["lift"][0] for r in runs]),
        gold_of_other_skills={name: interval([r["gold_of_other_skills"][i] for r in runs])
                              for i, name in enumerate(("before", "after"))},
        seconds=interval([r["seconds"] for r in runs]), runs=runs, machine=machine(),
    )  # fmt: skip


if __name__ == "__main__":
    main()
