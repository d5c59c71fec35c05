"""Over-optimisation on the starter world: gold rises and falls while the reward rises, and when the monitor stops.

A reward model trained on few comparisons is optimised by PPO without a price on KL and with high rates. Gold is the
small world's grader. The monitor sees one half of the held-out prompts; what its choice is worth is measured on the
other half. The run goes on to its end whatever the monitor says, so that the fall can be seen. Best-of-n with
the same reward model stands beside it. Target: the weights kept have at least 0.9 of the gold at the peak, in 8 of 10
seeds. `--simulate` measures instead how often the monitor stops runs whose gold does not fall and misses ones whose
does.
"""

from __future__ import annotations

import json
import math
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from _common import machine, parser, report, say, skip, spread

NAME = "overoptimisation"
RATES = {"muon_lr": 0.008, "adam_lr": 0.0012, "embed_lr": 0.012, "warmup": 0.05, "decay": 0.0}


def weak_reward(world: Any, rows: list[Any], count: int, seed: int, out: Path) -> Path:
    """A reward model from `count` comparisons, without the rubric's marks."""
    from chatwright.config import RewardConfig
    from chatwright.progress import Progress
    from chatwright.train import reward

    chosen = random.Random(seed).sample(rows, min(count, len(rows)))
    config = RewardConfig(rubric_coef=0.0, epochs=4.0)
    return reward.run(config, world["sft"].path, chosen, out, Progress(), seed=seed, parents={}).path


def halves(prompts: list[Any], seed: int, size: int) -> tuple[list[Any], list[Any]]:
    """Two sets of at most `size` prompts that share no composition, skills mixed alike."""
    keys = sorted({p.truth["key"] for p in prompts})
    random.Random(seed).shuffle(keys)
    left = set(keys[: len(keys) // 2])
    sides: tuple[list[Any], list[Any]] = ([], [])
    seen: set[str] = set()
    for prompt in random.Random(seed + 1).sample(prompts, len(prompts)):
        key = prompt.truth["key"]
        if key not in seen:  # one wording each
            seen.add(key)
            sides[key not in left].append(prompt)
    return sides[0][:size], sides[1][:size]


def one_seed(world: dict[str, Any], seed: int, chosen: Any, folder: Path) -> dict[str, Any]:
    """The curve of one run on both halves, what the monitor would have done, and best-of-n."""
    from chatwright import starter
    from chatwright.config import MonitorConfig, OptimConfig, PpoConfig
    from chatwright.train.distributed import World
    from chatwright.train.gold_measure import GoldCheck, GoldMonitor
    from chatwright.train.ppo import PpoRun

    started = time.monotonic()
    judge = weak_reward(world, world["comparisons"], chosen.comparisons, seed, folder / "reward")

    def gold(prompts: Any, texts: Any) -> list[float]:
        return [starter.grade(p, t).score for p, t in zip(prompts, texts, strict=True)]

    config = PpoConfig(
        optim=OptimConfig(**RATES), iterations=chosen.iterations, rollouts=chosen.rollouts, kl_coef=0.0, ptx_coef=0.0,
        monitor=MonitorConfig(every=chosen.every, prompts=chosen.prompts),
    )  # fmt: skip
    run = PpoRun(config, world["sft"].path, judge, world["train"], seed, World())
    watched, unseen = halves(world["heldout"], seed, chosen.prompts)
    monitor, truth = (
        GoldMonitor(GoldCheck(side, gold), config, run.engine, world["train"]) for side in (watched, unseen)
    )
    stop: int | None = None
    kept = 0
    for step in range(chosen.iterations + 1):
        if monitor.due(step):
            for one in (monitor, truth):
                one.measure(step, run.engine, run.reference, run.judges, seed, run.dtype)
            verdict = monitor.verdict
            if stop is None:
                kept = verdict.best
                stop = step if verdict.action == "stop" else None
            now, fair = monitor.history[-1].summary(), truth.history[-1].summary()
            shown = " ".join(f"{key} {now[key]:.2f}" for key in ("proxy", "kl", "length", "entropy", "ended"))
            say(f"seed {seed} iteration {step}: gold {now['gold']:.3f} and {fair['gold']:.3f}; {shown}; "
                f"{verdict.action} {', '.join(verdict.alarms)}")  # fmt: skip
        if step < chosen.iterations:
            run.iterate(step)
    rows, watch = [m.summary() for m in truth.history], [m.summary() for m in monitor.history]
    picked = best_of_n_rows(world, unseen, judge, gold, seed, folder / "best-of-n")
    return {
        **assessed(rows, stop, kept), "rl_fit": fitted(rows), "best_of_n": picked, "curve": rows, "monitored": watch,
        "first_alarms": first_alarms(monitor), "units": len(truth.history[0].gold),
        "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip


def best_of_n_rows(world: Any, prompts: list[Any], judge: Path, gold: Any, seed: int, out: Path) -> dict[str, Any]:
    from chatwright.config import BestOfNConfig
    from chatwright.evaluate import best_of_n_curve
    from chatwright.progress import Progress
    from chatwright.train import best_of_n

    made = best_of_n.run(
        BestOfNConfig(n=16), world["sft"].path, judge, prompts[:64], out, Progress(), seed=seed, parents={},
        curve_of=best_of_n_curve, gold=gold,
    )  # fmt: skip
    return {key: made.manifest.figures[key] for key in ("by_n", "fit", "prompts")}


def assessed(rows: list[dict[str, Any]], stop: int | None, kept: int) -> dict[str, Any]:
    """What the monitor's choice is worth on prompts it has not seen; gold smoothed over three measurements."""
    golds = [r["gold"] for r in rows]
    smooth = [sum(golds[max(0, i - 1) : i + 2]) / len(golds[max(0, i - 1) : i + 2]) for i in range(len(golds))]
    at = {row["step"]: value for row, value in zip(rows, smooth, strict=True)}
    peak = max(smooth)
    return {
        "gold_start": golds[0], "gold_peak": peak, "gold_end": smooth[-1], "gold_error": rows[-1]["gold_error"],
        "peak_iteration": rows[smooth.index(peak)]["step"], "stopped_at": stop, "kept_iteration": kept,
        "kept_over_peak": at[kept] / peak, "stop_over_peak": None if stop is None else at[stop] / peak,
        "end_over_peak": smooth[-1] / peak, "within_a_tenth": stop is not None and at[kept] >= 0.9 * peak,
    }  # fmt: skip


def fitted(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Gao's curve for reinforcement learning, with the share of the variance of gold it explains."""
    from chatwright.evaluate import fit_curve

    d = [math.sqrt(max(r["kl"], 0.0)) for r in rows]
    gains = [r["gold"] - rows[0]["gold"] for r in rows]
    curve = fit_curve(d, gains, learned=True)
    if curve is None:
        return None
    mean = sum(gains) / len(gains)
    error = sum((g - curve(x)) ** 2 for g, x in zip(gains, d, strict=True))
    return curve.to_json() | {"explained": 1 - error / max(1e-12, sum((g - mean) ** 2 for g in gains))}


def first_alarms(monitor: Any) -> dict[str, int]:
    """The iteration at which each kind of alarm was first given."""
    from chatwright.train.gold_monitor import judge

    first: dict[str, int] = {}
    for end in range(1, len(monitor.history) + 1):
        for kind in judge(monitor.history[:end], monitor.settings, monitor.planned).alarms:
            first.setdefault(kind, monitor.history[end - 1].step)
    return first


def picture(seeds: dict[int, dict[str, Any]], path: Path) -> None:
    """A panel a seed: gold and proxy over sqrt(KL), both fits, best-of-n, and where the monitor stopped."""
    from matplotlib.figure import Figure

    columns = min(3, len(seeds))
    rows = math.ceil(len(seeds) / columns)
    figure = Figure(figsize=(8, 4.2) if columns == 1 else (10, 1.9 * rows + 0.7), layout="constrained", dpi=75)
    places = list(figure.subplots(rows, columns, squeeze=False).flat)
    legend: tuple[list[Any], list[str]] = ([], [])
    for axes, (seed, made) in zip(places, seeds.items(), strict=False):
        legend = panel(axes, made)
        axes.set_title(f"seed {seed}", fontsize=9)
    for unused in places[len(seeds) :]:
        unused.set_axis_off()
    figure.supxlabel("sqrt(KL) in sqrt(nats) an answer", fontsize=9)
    figure.supylabel("gold (left), proxy (right)", fontsize=9)
    figure.legend(*legend, fontsize=8, loc="outside upper center", ncols=4, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    if path.suffix == ".png":  # few colours: a third of the size
        from PIL import Image

        Image.open(path).convert("RGB").quantize(32).save(path, optimize=True)


def panel(axes: Any, made: dict[str, Any]) -> tuple[list[Any], list[str]]:
    """Draws one run; returns what belongs into the legend."""
    import numpy as np

    from chatwright.evaluate import Curve

    rows, start = made["curve"], made["curve"][0]["gold"]
    d = [math.sqrt(max(r["kl"], 0.0)) for r in rows]
    line = np.linspace(0, max(d), 200)
    axes.errorbar(d, [r["gold"] for r in rows], [r["gold_error"] for r in rows], fmt="o", ms=3.5, lw=1, color="#2f8f5b",
                  label="gold, PPO")  # fmt: skip
    if fit := made["rl_fit"]:
        curve = Curve(fit["alpha"], fit["beta"], True)
        axes.plot(line, [start + curve(x) for x in line], color="#2f8f5b", lw=1, label="d (a - b log d)")
    by_n, fit = made["best_of_n"]["by_n"], made["best_of_n"]["fit"]
    axes.plot([math.sqrt(r["kl"]) for r in by_n.values()], [start + r["gold_gain"][0] for r in by_n.values()], "s",
              ms=4, color="#3d7dca", label="gold, best-of-n")  # fmt: skip
    if fit:
        short = np.linspace(0, math.sqrt(max(r["kl"] for r in by_n.values())), 50)
        curve = Curve(fit["alpha"], fit["beta"], False)
        axes.plot(short, [start + curve(x) for x in short], color="#3d7dca", lw=1, label="d (a - b d)")
    at = {r["step"]: x for r, x in zip(rows, d, strict=True)}
    axes.axvline(at[made["kept_iteration"]], color="#555", lw=1, ls=":", label="weights kept")
    if made["stopped_at"] is not None:
        axes.axvline(at[made["stopped_at"]], color="#555", lw=1, ls="--", label="stopped")
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=8)
    proxies = axes.twinx()
    proxies.plot(d, [r["proxy"] for r in rows], "^--", ms=3.5, lw=1, color="#c2571a", label="proxy, PPO (right)")
    proxies.tick_params(labelsize=8)
    found = [a.get_legend_handles_labels() for a in (axes, proxies)]
    return [h for handles, _ in found for h in handles], [t for _, texts in found for t in texts]


def simulate(runs: int) -> dict[str, Any]:
    """False alarms on gold that stays flat or jumps about between 0 and 1, and what is kept of one that falls."""
    import numpy as np

    from chatwright.config import MonitorConfig
    from chatwright.evaluate import wilson
    from chatwright.train.gold_monitor import Measurement, judge

    def outcome(rng: Any, means: Any, prompts: int, graded: bool) -> tuple[int | None, int]:
        settings = MonitorConfig()
        hard = rng.normal(0, 0.25, prompts)
        history: list[Measurement] = []
        for step, mean in enumerate(means):
            scores = mean + hard + rng.normal(0, 0.3, prompts)
            if graded:  # as the small world does: wrong is 0.1, right is 0.9
                scores = np.where(scores > 0.5, 0.9, 0.1)
            proxy = step + hard + rng.normal(0, 0.3, prompts)
            history.append(Measurement(step, tuple(scores.tolist()), tuple(proxy.tolist()), 0.0, 1.0, 9.0, 1.0))
            verdict = judge(history, settings, len(means))
            if verdict.action == "stop":
                return step, verdict.best
        return None, verdict.best

    figures: dict[str, Any] = {"runs": runs}
    for planned in (9, 17, 33):
        for graded in (False, True):
            rng = np.random.default_rng(planned)
            stops = sum(outcome(rng, [0.5] * planned, 100, graded)[0] is not None for _ in range(runs))
            low, high = wilson(stops / runs, runs)
            figures[f"flat_{planned}{'_graded' if graded else ''}"] = {"stopped": stops / runs, "ci": [low, high]}
    means = [0.6 + 0.2 * math.sin(math.pi * i / 8) for i in range(17)]  # peak at 4, back at the start at 8
    for prompts in (50, 100, 250):
        rng = np.random.default_rng(prompts)
        ends = [outcome(rng, means, prompts, False) for _ in range(runs)]
        late = sorted(at - 4 for at, _ in ends if at is not None)
        figures[f"fall_{prompts}_prompts"] = {
            "stopped": len(late) / runs, "measurements_after_peak": late[len(late) // 2],
            "kept_within_a_tenth": sum(means[best] >= 0.9 * max(means) for _, best in ends) / runs,
        }  # fmt: skip
    return figures


def load(workspace: Path) -> dict[str, Any]:
    """What the benchmark takes from a finished starter build."""
    from chatwright.cycle.run import read_all
    from chatwright.records import Comparison, Prompt
    from chatwright.workspace import Workspace

    found = {a.manifest.kind: a for a in Workspace(workspace).artefacts()}
    if not {"sft", "world", "comparisons"} <= found.keys():
        skip(NAME, f"{workspace} holds no starter build; make one: chatwright demo --no-serve --workspace {workspace}")
    world = found["world"].path
    return {
        "sft": found["sft"],
        "comparisons": read_all([found["comparisons"].path / "comparisons.jsonl.gz"], Comparison.from_json),
        "train": read_all([world / "train_prompts.jsonl.gz"], Prompt.from_json),
        "heldout": read_all([world / "heldout_prompts.jsonl.gz"], Prompt.from_json),
    }


def joined(reports: list[Path], settings: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The runs of earlier reports by seed; all must have been made alike."""
    runs: dict[int, dict[str, Any]] = {}
    for path in reports:
        made = json.loads(path.read_text())
        if made.get("settings") != settings or made.get("rates") != RATES:
            raise SystemExit(f"{path} holds runs with other settings; join only runs made alike")
        runs |= {int(seed): run for seed, run in made["runs"].items()}
    return runs


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--workspace", type=Path, default=Path(".chatwright"), help="a finished starter build")
    options.add_argument("--seeds", type=int, nargs="*", default=[1])
    options.add_argument("--comparisons", type=int, default=80, help="of which the weak reward model learns")
    options.add_argument("--iterations", type=int, default=24)
    options.add_argument("--rollouts", type=int, default=64)
    options.add_argument("--every", type=int, default=2, help="iterations between two measurements")
    options.add_argument("--prompts", type=int, default=150, help="held-out prompts of each half")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--join", type=Path, nargs="+", default=[], help="reports of earlier runs, counted with these")
    options.add_argument("--picture", type=Path, help="write the curves here, as SVG or PNG")
    options.add_argument("--simulate", type=int, default=0, help="simulated runs of each kind instead of real ones")
    chosen = options.parse_args()
    from chatwright.machine import prepare_process, use_threads

    prepare_process()
    if chosen.simulate:
        report(NAME, simulated=simulate(chosen.simulate))
        return
    use_threads(chosen.threads)
    settings = {k: getattr(chosen, k) for k in ("comparisons", "iterations", "rollouts", "every", "prompts")}
    seeds = joined(chosen.join, settings)
    world = load(chosen.workspace) if chosen.seeds else {}
    for seed in chosen.seeds:
        with tempfile.TemporaryDirectory(prefix="chatwright-overoptimisation-") as folder:
            seeds[seed] = one_seed(world, seed, chosen, Path(folder))
        say(f"seed {seed}: " + ", ".join(f"{k} {v}" for k, v in seeds[seed].items() if not isinstance(v, dict | list)))
    seeds = dict(sorted(seeds.items()))
    if chosen.picture:
        picture(seeds, chosen.picture)
    keys = ("gold_start", "gold_peak", "gold_end", "kept_over_peak", "stop_over_peak", "end_over_peak", "seconds")
    told = {key: spread([made[key] for made in seeds.values() if made[key] is not None]) for key in keys}
    within = sum(made["within_a_tenth"] for made in seeds.values())
    report(NAME, **told, stopped_within_a_tenth=within, of_seeds=len(seeds),
           settings=settings,
           rates=RATES, runs=seeds, machine=machine())  # fmt: skip


if __name__ == "__main__":
    main()
