"""The plots of a build's report, as SVG that stands in the page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from chatwright.evaluate.summary import StageSummary

COLOURS = {"base": "#8a8f98", "sft": "#3d7dca", "ppo": "#c2571a", "dpo": "#2f8f5b"}
MARKERS = {"base": "o", "sft": "s", "ppo": "^", "dpo": "D"}  # told apart without colour too
CURVES = (("base", "bits_per_byte"), ("sft", "heldout_loss"), ("reward", "pair_accuracy"), ("ppo", "reward"),
          ("ppo", "kl"), ("ppo", "length"))  # fmt: skip


def plot_skills(summaries: Sequence[StageSummary]) -> str:
    """Gold score with its interval, a row per skill and a mark per stage."""
    from matplotlib.figure import Figure

    skills = sorted({skill for s in summaries for skill in s.skills})
    figure = Figure(figsize=(9, 0.42 * len(skills) + 1))
    axes = figure.subplots()
    for offset, summary in enumerate(summaries):
        places, values, errors = [], [], ([], [])
        for row, skill in enumerate(skills):
            if (interval := summary.skills.get(skill)) and interval.n:
                places.append(row + 0.17 * (offset - (len(summaries) - 1) / 2))
                values.append(interval.value)
                errors[0].append(interval.value - interval.low)
                errors[1].append(interval.high - interval.value)
        axes.errorbar(values, places, xerr=errors, fmt=MARKERS.get(summary.name, "o"), ms=4, lw=1.2,
                      label=summary.name, color=COLOURS.get(summary.name))  # fmt: skip
    axes.set_yticks(range(len(skills)), skills)
    axes.invert_yaxis()
    axes.set_xlim(-0.02, 1.02)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower left", ncols=4, frameon=False, bbox_to_anchor=(0, 1))
    return _svg(figure, "skills")


def plot_curves(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """What training logged, a panel per figure; a panel without points stays empty."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    for axes, (stage, key) in zip(figure.subplots(2, 3).flat, CURVES, strict=True):
        points = [(row["step"], row[key]) for row in curves.get(stage, []) if key in row]
        axes.plot([p[0] for p in points], [p[1] for p in points], color=COLOURS.get(stage, "#7a4fb5"))
        axes.set_title(f"{stage}: {key.replace('_', ' ')}", fontsize=10)
        axes.set_xlabel("step", fontsize=9)
        axes.grid(alpha=0.3)
    return _svg(figure, "curves")


def _svg(figure: Any, name: str) -> str:
    """The drawing alone; `name` keeps its ids apart from those of other plots on the page."""
    out = io.StringIO()
    figure.savefig(out, format="svg", bbox_inches="tight", transparent=True)
    text = out.getvalue()[out.getvalue().index("<svg") :]
    for reference in (' id="', 'href="#', "url(#"):
        text = text.replace(reference, f"{reference}{name}-")
    return text
