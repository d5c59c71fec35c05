"""PPO and DPO next to the fine-tuned model over many builds of the starter, best-of-16 and plain PPO beside them.

Reads finished builds, one a seed (`python benchmarks/starter_seeds.py --seeds 1 2 ... --workspaces FOLDER`), and writes
nothing into them. Win rates on gold are those each build measured on its held-out prompts. Of each build the
fine-tuned model answers held-out prompts 16 times (best-of-n with the unbiased estimator), and PPO is run once more
without the rehearsed demonstrations of PPO-ptx; facts and sums are then asked of all three, more of them than a build
does. Targets: PPO and DPO each beat the fine-tuned model (interval above 0.5), no run diverges, PPO-ptx loses at most
half of the accuracy that plain PPO loses.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _common import machine, parser, report, say

ACCURACY = ("facts", "arithmetic")


def interval(values: Sequence[float]) -> dict[str, Any]:
    """Mean with Student's 95 % interval over builds; none from a single one."""
    from scipy.stats import t

    mean = statistics.fmean(values)
    if len(values) < 2:
        return {"mean": round(mean, 4), "low": None, "high": None, "n": len(values)}
    half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return {"mean": round(mean, 4), "low": round(mean - half, 4), "high": round(mean + half, 4), "n": len(values)}


def accuracy(model: Path, questions: dict[str, Sequence[Any]], settings: Any, seed: int) -> dict[str, float]:
    """Share of right answers to the questions of each skill."""
    from chatwright import starter
    from chatwright.engine import Engine, SamplingParams, answer

    engine, sampling = Engine.load(model), SamplingParams(**settings.evaluate.sampling.model_dump())
    shares = {}
    for skill, prompts in questions.items():
        said = answer(engine, [p.messages for p in prompts], sampling, seed=seed)
        grades = [starter.grade(p, c.text.strip()) for p, c in zip(prompts, said, strict=True)]
        shares[skill] = statistics.fmean(float(bool(g.correct)) for g in grades)
    return shares


def best_of_16(space: Any, prompts: Sequence[Any], settings: Any, seed: int, out: Path) -> dict[str, Any]:
    from chatwright import starter
    from chatwright.evaluate import best_of_n_curve
    from chatwright.progress import Progress
    from chatwright.train import best_of_n

    config = settings.best_of_n.model_copy(update={"n": 16})
    made = best_of_n.run(
        config, space.find("sft").path, space.find("reward").path, prompts, out, Progress(), seed=seed, parents={},
        curve_of=lambda proxy, gold, clusters: best_of_n_curve(proxy, gold, clusters, confidence=0.95, resamples=500),
        gold=lambda asked, said: [starter.grade(p, text).score for p, text in zip(asked, said, strict=True)],
    )  # fmt: skip
    return made.manifest.figures["by_n"]


def kept(workspace: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """What is known of a build from an earlier call, or measured now."""
    if chosen.keep is None:
        return one_build(workspace, chosen)
    path = chosen.keep / f"{workspace.name}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(one_build(workspace, chosen)), "utf-8")
    return json.loads(path.read_text("utf-8"))


def one_build(workspace: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    from chatwright import starter
    from chatwright.cycle.first_build import train_prompts
    from chatwright.cycle.run import read_all
    from chatwright.progress import Progress
    from chatwright.records import Prompt
    from chatwright.settings import load_settings
    from chatwright.train import ppo
    from chatwright.workspace import Workspace

    started, space = time.monotonic(), Workspace(workspace)
    settings = load_settings("starter", overrides=chosen.set)
    evaluation = json.loads((space.find("evaluation").path / "evaluation.json").read_text("utf-8"))
    world, sft = space.find("starter world"), space.find("sft")
    seed = sft.manifest.seed
    heldout = read_all([world.path / "heldout_prompts.jsonl.gz"], Prompt.from_json)
    questions = {skill: starter.skill_prompts(2000 + seed, skill, "heldout", chosen.questions) for skill in ACCURACY}
    with tempfile.TemporaryDirectory(prefix="chatwright-seeds-") as passing:
        curve = best_of_16(
            space, heldout[:: max(1, len(heldout) // chosen.prompts)], settings, seed, Path(passing) / "n"
        )
        plain = ppo.run(
            settings.ppo, sft.path, space.find("reward").path, train_prompts({"world": world}), Path(passing) / "plain",
            Progress(), seed=seed, parents={},
        )  # fmt: skip
        models = {
            "sft": sft.path,
            "ppo": space.find("ppo").path,
            "ppo_plain": plain.path,
            "dpo": space.find("dpo").path,
        }
        right = {name: accuracy(path, questions, settings, seed) for name, path in models.items()}
    made = {
        "seed": seed, "gold": {row["name"]: row["gold"] for row in evaluation["stages"]}, "wins": evaluation["wins"],
        "skipped_steps": {n: space.find(n).manifest.figures["skipped_steps"] for n in ("ppo", "dpo")},
        "kl": {"ppo": space.find("ppo").manifest.figures["kl"], "ppo_plain": plain.manifest.figures["kl"]},
        "right": right, "best_of_n": curve, "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip
    say(json.dumps(made))
    return made


def plot(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """What picking the best of n brings by the reward model and by gold; a line a build."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 2.6), layout="constrained")
    for axes, key, title in zip(figure.subplots(1, 2), ("proxy", "gold"), ("reward of the best of n", "its gold"),
                                strict=True):  # fmt: skip
        for run in runs:
            rows = run["best_of_n"]
            axes.plot([int(n) for n in rows], [row[key][0] for row in rows.values()], "o-", ms=4, lw=1,
                      label=f"seed {run['seed']}")  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set_xlabel("n", fontsize=8)
        axes.set_title(title, fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--builds", type=Path, nargs="+", required=True, help="workspaces of finished starter builds")
    options.add_argument("--prompts", type=int, default=200, help="held-out prompts answered 16 times")
    options.add_argument("--questions", type=int, default=500, help="held-out facts, and as many sums")
    options.add_argument("--keep", type=Path, help="measured builds are kept here and not measured again")
    options.add_argument("--plot", type=Path, help="write a picture of best-of-n here")
    options.add_argument("--threads", type=int, default=0)
    options.add_argument("--set", action="append", default=[], help="a setting of plain PPO, as section.key=value")
    chosen = options.parse_args()

    from chatwright.machine import prepare_process, use_threads

    prepare_process()
    use_threads(chosen.threads)
    runs = [kept(workspace, chosen) for workspace in chosen.builds]
    lost = {
        name: {
            skill: interval([r["right"]["sft"][skill] - r["right"][name][skill] for r in runs]) for skill in ACCURACY
        }
        for name in ("ppo", "ppo_plain", "dpo")
    }
    curves = [{n: row["gold"][0] for n, row in r["best_of_n"].items()} for r in runs]
    if chosen.plot:
        plot(runs, chosen.plot)
    report(
        "alignment_seeds",
        wins_over_sft={name: interval([r["wins"][f"{name}_over_sft"][0] for r in runs]) for name in ("ppo", "dpo")},
        gold={name: interval([r["gold"][name] for r in runs]) for name in ("sft", "ppo", "dpo")},
        best_of_n={n: interval([c[n] for c in curves]) for n in curves[0]},
        accuracy={name: {skill: interval([r["right"][name][skill] for r in runs]) for skill in ACCURACY}
                  for name in runs[0]["right"]},
        accuracy_lost=lost, runs=runs, machine=machine(),
    )  # fmt: skip


if __name__ == "__main__":
    main()
