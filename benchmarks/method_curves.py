"""Pictures of what the methods' pages speak of, from a finished starter build: one of SFT, reward model, PPO and DPO.

    chatwright demo --no-serve --workspace build
    python benchmarks/method_curves.py --build build --out docs/images

Reads the build's log and manifests, writes `method-sft.png` and so on, and prints the last figures of each curve.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from _common import parser, report

SFT, REWARD, PPO, DPO = "#3d7dca", "#7a4fb5", "#c2571a", "#2f8f5b"
Rows = Sequence[Mapping[str, float]]


def logged(build: Path) -> dict[str, list[dict[str, float]]]:
    """The steps of each stage, in order; where a build was interrupted, the last that was said of a step."""
    steps: dict[str, dict[int, dict[str, float]]] = {}
    for line in (build / "events.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        if row.get("event") == "step" and "loss" in row:
            steps.setdefault(row["stage"], {})[row["done"]] = row
    return {stage: [rows[done] for done in sorted(rows)] for stage, rows in steps.items()}


def draw(axes: Any, rows: Rows, key: str, title: str, colour: str, *, x: str = "done", **style: Any) -> None:
    known = [(row[x], row[key]) for row in rows if key in row]
    axes.plot([p[0] for p in known], [p[1] for p in known], color=colour, **({"lw": 1.2} | style))
    axes.set_title(title, fontsize=8)


def sft(panels: Any, steps: Rows, figures: Mapping[str, Any]) -> None:
    draw(panels[0], steps, "loss", "loss of the demonstrations (thin), of held-out ones (dots)", SFT, lw=0.7, alpha=0.6)
    draw(panels[0], figures["curve"], "heldout_loss", panels[0].get_title(), SFT, x="step", marker="o", ms=4)
    panels[0].set_yscale("log")


def reward(panels: Any, steps: Rows, figures: Mapping[str, Any]) -> None:
    draw(panels[0], steps, "accuracy", "pairs in order: learned (thin), held out (dots)", REWARD, lw=0.7, alpha=0.6)
    draw(panels[0], figures["curve"], "pair_accuracy", panels[0].get_title(), REWARD, x="step", marker="o", ms=4)
    bins = figures["audit"]["by_confidence"]
    panels[1].plot([0.5, 1], [0.5, 1], color="#8a8f98", lw=0.8, ls=":")
    panels[1].plot([b["confidence"] for b in bins], [b["accuracy"] for b in bins], "o-", color=REWARD, ms=4)
    panels[1].set_title("held-out pairs in order, by its own confidence", fontsize=8)
    panels[1].set_xlabel("confidence", fontsize=8)


def ppo(panels: Any, steps: Rows, _: Mapping[str, Any]) -> None:
    draw(panels[0], steps, "reward", "reward", PPO)
    draw(panels[1], steps, "kl", "KL to the SFT model, nats an answer", PPO)
    draw(panels[2], steps, "entropy", "entropy, nats a token", PPO)
    draw(panels[3], steps, "length", "length, tokens", PPO)
    draw(panels[4], steps, "value_explained", "share of the returns' variance explained", PPO)
    draw(panels[5], steps, "ptx_loss", "loss of the rehearsed demonstrations", PPO)


def dpo(panels: Any, steps: Rows, _: Mapping[str, Any]) -> None:
    draw(panels[0], steps, "loss", "loss (begins at ln 2)", DPO)
    draw(panels[1], steps, "accuracy", "pairs in order by the implied reward", DPO)
    draw(panels[2], steps, "chosen_logp_change", "log-probability of the better answer, change", DPO)


METHODS: dict[str, tuple[Callable[..., None], int, int]] = {
    "sft": (sft, 1, 1), "reward": (reward, 1, 2), "ppo": (ppo, 2, 3), "dpo": (dpo, 1, 3),
}  # fmt: skip
"""What draws a method, in how many rows and columns of panels."""


def picture(name: str, steps: Rows, figures: Mapping[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    draws, rows, columns = METHODS[name]
    figure = Figure(figsize=(3 * max(columns, 2), 2.4 * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels:
        axes.set_xlabel("iteration" if name == "ppo" else "step", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    draws(panels, steps, figures)
    figure.savefig(path, dpi=90)


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--build", type=Path, required=True, help="workspace of a finished starter build")
    options.add_argument("--out", type=Path, default=Path("docs/images"), help="folder the pictures are written into")
    chosen = options.parse_args()

    from chatwright.workspace import Workspace

    space, steps = Workspace(chosen.build), logged(chosen.build)
    chosen.out.mkdir(parents=True, exist_ok=True)
    last = {}
    for name in METHODS:
        found = space.find(name)
        picture(name, steps[name], found.manifest.figures, chosen.out / f"method-{name}.png")
        last[name] = {key: round(float(value), 4) for key, value in steps[name][-1].items() if isinstance(value, float)}
    report("method_curves", seed=space.find("sft").manifest.seed, last=last)


if __name__ == "__main__":
    main()
