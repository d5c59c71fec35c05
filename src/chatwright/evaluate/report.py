"""The report of a build: one HTML file with its table, plots and samples, readable without a server or a network."""

from __future__ import annotations

import io
import random
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from chatwright.evaluate.gold import Answered
from chatwright.evaluate.statistics import Interval
from chatwright.evaluate.summary import StageSummary
from chatwright.files import write_text

COLOURS = {"base": "#8a8f98", "sft": "#3d7dca", "ppo": "#c2571a", "dpo": "#2f8f5b"}

STYLE = """
:root { color-scheme: light dark; --ink: #1d2127; --soft: #5b626c; --paper: #fff; --line: #d9dde3; --tint: #f4f6f9 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7e9ec; --soft: #a4abb5; --paper: #15181c; --line: #343a42; --tint: #1d2126 }
  figure svg { filter: invert(.88) hue-rotate(180deg) }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
       max-width: 68rem; padding: 1.5rem 1rem 4rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.5rem }
p, figcaption { color: var(--soft); max-width: 46rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .4rem .8rem; border-bottom: 1px solid var(--line); vertical-align: top }
td.number, th.number { text-align: right } .small { font-size: .85em; color: var(--soft) }
figure { margin: 1rem 0 } figure svg { max-width: 100%; height: auto }
.note { background: var(--tint); border-left: 4px solid #c2571a; padding: .6rem 1rem; border-radius: 4px }
"""


def write_report(
    path: Path,
    *,
    summaries: Sequence[StageSummary],
    wins: Mapping[str, Interval],
    answers: Mapping[str, Sequence[Answered]],
    table: Mapping[str, Any],
    curves: Mapping[str, Sequence[Mapping[str, float]]],
    corpus: Mapping[str, Any],
) -> None:
    """Writes the whole page; every figure on it stands with its interval where it has one."""
    parts = [
        "<h1>What was built, and how well it answers</h1>",
        "<p class=note>Prompts, demonstrations, rankings and grades come from programs of the embedded small world: "
        "everything here is <strong>simulated</strong> and says nothing about people.</p>",
        _headline(table),
        "<h2>Each stage on the same held-out prompts</h2>",
        _stage_table(summaries),
        _win_table(wins),
        _figure(_plot_skills(summaries), "Gold score by skill, with 95 % intervals. 1 is a right answer in good form."),
        "<h2>How training went</h2>",
        _figure(_plot_curves(curves), "Held-out figures and rewards during training."),
        "<h2>What each stage says</h2>",
        _samples(answers),
        _curation(corpus),
    ]
    page = (
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Chatwright build report</title><style>{STYLE}</style></head><body><main>"
        + "\n".join(parts)
        + "</main></body></html>\n"
    )
    write_text(path, page)


def _headline(table: Mapping[str, Any]) -> str:
    low, high = table["win_rate_ci"]
    return (
        f"<p>Served: <strong>{escape(table['served_name'])}</strong> ({escape(table['served'])}). The aligned "
        f"candidate {escape(table['aligned'])} wins {table['win_rate_over_sft']:.0%} of held-out prompts against the "
        f"fine-tuned model (95 % interval {low:.0%} to {high:.0%}, ties count half). The reward model orders "
        f"{_share(table['reward_pair_accuracy'])} of held-out "
        f"pairs as its rater did; the raters' own ceiling is {_share(table['rater_ceiling'])}.</p>"
    )


def _share(value: float | None) -> str:
    return "an unknown share" if value is None else f"{value:.0%}"


def _stage_table(summaries: Sequence[StageSummary]) -> str:
    columns = (
        ("gold score", "gold"), ("facts", "facts"), ("arithmetic", "arithmetic"),
        ("harmful refused", "harmful_refused"), ("look-alikes refused", "lookalikes_refused"),
    )  # fmt: skip
    head = "".join(f"<th class=number>{escape(title)}</th>" for title, _ in columns)
    rows = []
    for summary in summaries:
        cells = "".join(f"<td class=number>{_cell(getattr(summary, name))}</td>" for _, name in columns)
        rows.append(f"<tr><th>{escape(summary.name)}</th>{cells}<td class=number>{summary.seconds:.0f} s</td></tr>")
    return (
        f"<div class=scroll><table><tr><th>stage</th>{head}<th class=number>training</th></tr>"
        + "".join(rows)
        + "</table></div>"
    )


def _cell(interval: Interval) -> str:
    if not interval.n:
        return "<span class=small>not measured</span>"
    return (
        f"{interval.value:.2f}<br><span class=small>{interval.low:.2f} to {interval.high:.2f}, n = {interval.n}</span>"
    )


def _win_table(wins: Mapping[str, Interval]) -> str:
    rows = "".join(
        f"<tr><th>{escape(key.replace('_', ' '))}</th><td class=number>{_cell(value)}</td></tr>"
        for key, value in wins.items()
    )
    return f"<h2>Win rates on the gold score</h2><div class=scroll><table>{rows}</table></div>"


def _samples(answers: Mapping[str, Sequence[Answered]]) -> str:
    """A few prompts of every skill, drawn without looking at the scores, with each model's answer."""
    names = list(answers)
    by_skill: dict[str, list[int]] = {}
    for index, answered in enumerate(answers[names[0]]):
        by_skill.setdefault(answered.prompt.skill, []).append(index)
    rng = random.Random(0)
    rows = []
    for skill in sorted(by_skill):
        for index in rng.sample(by_skill[skill], min(2, len(by_skill[skill]))):
            prompt = answers[names[0]][index].prompt
            said = " / ".join(f"{m.role}: {m.content}" for m in prompt.messages)
            cells = "".join(
                f"<td>{escape(answers[n][index].response) or '<span class=small>nothing</span>'} "
                f"<span class=small>({answers[n][index].score:.2f})</span></td>"
                for n in names
            )
            rows.append(f"<tr><th>{escape(skill)}</th><td>{escape(said)}</td>{cells}</tr>")
    head = "".join(f"<th>{escape(n)}</th>" for n in names)
    return (
        "<p>Two prompts of each skill, drawn blindly. The number is the gold score.</p><div class=scroll><table>"
        f"<tr><th>skill</th><th>prompt</th>{head}</tr>" + "".join(rows) + "</table></div>"
    )


def _curation(corpus: Mapping[str, Any]) -> str:
    if not corpus:
        return ""
    reasons = "".join(
        f"<tr><th>{escape(reason)}</th><td class=number>{count:,}</td></tr>"
        for reason, count in corpus.get("reasons", {}).items()
    )
    return (
        f"<h2>Curation</h2><p>{corpus['read']:,} documents read, {corpus['kept']:,} kept, {corpus['holdout']:,} held "
        f"out, {corpus['dropped']:,} dropped for these reasons:</p><div class=scroll><table>{reasons}</table></div>"
    )


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _svg(figure: Any) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", bbox_inches="tight", transparent=True)
    return out.getvalue()[out.getvalue().index("<svg") :]


def _plot_skills(summaries: Sequence[StageSummary]) -> str:
    from matplotlib.figure import Figure

    skills = sorted({skill for s in summaries for skill in s.skills})
    figure = Figure(figsize=(11, 0.42 * len(skills) + 1))
    axes = figure.subplots()
    for offset, summary in enumerate(summaries):
        places, values, errors = [], [], ([], [])
        for row, skill in enumerate(skills):
            if (interval := summary.skills.get(skill)) and interval.n:
                places.append(row + 0.17 * (offset - (len(summaries) - 1) / 2))
                values.append(interval.value)
                errors[0].append(interval.value - interval.low)
                errors[1].append(interval.high - interval.value)
        axes.errorbar(values, places, xerr=errors, fmt="o", ms=4, lw=1.2, label=summary.name,
                      color=COLOURS.get(summary.name))  # fmt: skip
    axes.set_yticks(range(len(skills)), skills)
    axes.invert_yaxis()
    axes.set_xlim(-0.02, 1.02)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower left", ncols=4, frameon=False, bbox_to_anchor=(0, 1))
    return _svg(figure)


def _plot_curves(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    from matplotlib.figure import Figure

    wanted = (("base", "bits_per_byte"), ("sft", "heldout_loss"), ("reward", "pair_accuracy"), ("ppo", "reward"),
              ("ppo", "kl"), ("ppo", "length"))  # fmt: skip
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    for axes, (stage, key) in zip(figure.subplots(2, 3).flat, wanted, strict=True):
        points = [(row["step"], row[key]) for row in curves.get(stage, []) if key in row]
        axes.plot([p[0] for p in points], [p[1] for p in points], color=COLOURS.get(stage, "#7a4fb5"))
        axes.set_title(f"{stage}: {key.replace('_', ' ')}", fontsize=10)
        axes.set_xlabel("step", fontsize=8)
        axes.grid(alpha=0.3)
    return _svg(figure)
