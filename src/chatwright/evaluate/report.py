"""The report of a build: one HTML file with its tables, plots and samples, readable without a server or a network."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from chatwright.evaluate.gold import Answered
from chatwright.evaluate.plots import plot_curves, plot_skills
from chatwright.evaluate.statistics import Interval
from chatwright.evaluate.summary import HELDOUT_KINDS, StageSummary
from chatwright.files import write_text

STYLE = """
:root { color-scheme: light dark; --ink: #1d2127; --soft: #5b626c; --paper: #fff; --line: #d9dde3; --tint: #f4f6f9;
        --accent: #c2571a }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7e9ec; --soft: #a4abb5; --paper: #15181c; --line: #343a42; --tint: #1d2126; --accent: #e58a52 }
  figure svg { filter: invert(.9) hue-rotate(180deg) }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
       max-width: 68rem; padding: 1.5rem 1rem 4rem }
h1 { font-size: 1.6rem; line-height: 1.25 } h2 { font-size: 1.25rem; margin-top: 3rem }
h3 { font-size: 1rem; margin: 2rem 0 .5rem }
p, figcaption, caption { color: var(--soft) } p, figcaption { max-width: 46rem }
.scroll { overflow-x: auto } .scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--accent) }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
caption { text-align: left } caption span { position: sticky; left: 0; display: inline-block; max-width: 90vw }
th, td { text-align: left; padding: .4rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top }
td:not(:first-child), thead th:not(:first-child) { text-align: right; white-space: nowrap }
th:first-child { position: sticky; left: 0; background: var(--paper) } .small { font-size: .85em; color: var(--soft) }
figure { margin: 1rem 0 } figure svg { width: 100%; min-width: 38rem; height: auto }
summary { cursor: pointer; color: var(--soft) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem .8rem; margin: 0 0 1rem; padding: .6rem .8rem;
     background: var(--tint); border-radius: 4px }
dt { color: var(--soft) } dd { margin: 0; overflow-wrap: anywhere } dd.said { font-weight: 600 }
.note { background: var(--tint); border-left: 4px solid var(--accent); padding: .6rem 1rem; border-radius: 4px }
"""
KIND_TITLES = {"wording": "new wording", "fact": "never asked"}


def write_report(
    path: Path,
    *,
    summaries: Sequence[StageSummary],
    wins: Mapping[str, Interval],
    answers: Mapping[str, Sequence[Answered]],
    table: Mapping[str, Any],
    confidence: float,
    curves: Mapping[str, Sequence[Mapping[str, float]]],
    corpus: Mapping[str, Any],
) -> None:
    """Writes the whole page; every figure on it stands with its interval, of the given confidence, where it has one."""
    parts = [
        "<h1>What was built, and how well it answers</h1>",
        "<p class=note>Prompts, demonstrations, rankings and grades come from programs of the embedded small world: "
        "everything here is <strong>simulated</strong> and says nothing about people.</p>",
        _headline(table, confidence),
        "<h2>Each stage on the same held-out prompts</h2>",
        f"<p>Below each figure its {confidence:.0%} interval and the number of prompts. Prompts that ask for the same "
        "thing in other words count as one cluster, not as so many observations.</p>",
        _stages(summaries),
        _heldout(summaries),
        "<h2>Win rates on the gold score</h2>",
        _wins(wins),
        "<h2>Gold score by skill</h2>",
        _skills(summaries, confidence),
        "<h2>How training went</h2>",
        _figure(plot_curves(curves), "Held-out figures and rewards during training, by step."),
        "<h2>What each stage says</h2>",
        _samples(answers),
        _curation(corpus),
    ]
    page = (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>Chatwright build report</title><style>{STYLE}</style></head><body><main>"
        + "\n".join(parts)
        + "</main></body></html>\n"
    )
    write_text(path, page)


def _headline(table: Mapping[str, Any], confidence: float) -> str:
    low, high = table["win_rate_ci"]
    return (
        f"<p>Served: <strong>{escape(table['served_name'])}</strong> ({escape(table['served'])}). The aligned "
        f"candidate {escape(table['aligned'])} wins {table['win_rate_over_sft']:.0%} of held-out prompts against the "
        f"fine-tuned model ({confidence:.0%} interval {low:.0%} to {high:.0%}, ties count half). The reward model "
        f"orders {_percent(table['reward_pair_accuracy'])} of held-out "
        f"pairs as its rater did; the raters' own ceiling is {_percent(table['rater_ceiling'])}.</p>"
    )


def _percent(value: float | None) -> str:
    return "an unknown share" if value is None else f"{value:.0%}"


def _stages(summaries: Sequence[StageSummary]) -> str:
    shares = ("facts", "arithmetic", "harmful_refused", "lookalikes_refused")
    return _table(
        "Gold score (0 to 1), share of right answers, share of requests refused, and time to train.",
        ("stage", "gold score", "facts", "arithmetic", "harmful refused", "look-alikes refused", "training"),
        [
            (s.name, _cell(s.gold), *(_cell(getattr(s, name)) for name in shares), f"{s.seconds:.0f} s")
            for s in summaries
        ],
    )


def _heldout(summaries: Sequence[StageSummary]) -> str:
    """Right answers apart for the two kinds of held-out question; nothing where no prompt says its kind."""
    if not summaries[0].heldout:
        return ""
    rows = [
        (f"{skill}, {KIND_TITLES[kind]}", *(_cell(s.heldout[skill][kind]) for s in summaries))
        for skill in summaries[0].heldout
        for kind in HELDOUT_KINDS
    ]
    return (
        "<h2>Right answers, by what was held out</h2>"
        "<p><strong>New wording</strong>: demonstrations draw on the fact, but never in this wording (a rare fact may "
        "not have been drawn at all). <strong>Never asked</strong>: no demonstration asks for the fact in any wording; "
        "only the corpus tells it.</p>"
        + _table("Share of right answers.", ("skill and kind", *(s.name for s in summaries)), rows)
    )


def _wins(wins: Mapping[str, Interval]) -> str:
    rows = [(key.replace("_", " "), _cell(interval)) for key, interval in wins.items()]
    return _table("Share of prompts on which the first answer scores higher.", ("models", "win rate"), rows)


def _skills(summaries: Sequence[StageSummary], confidence: float) -> str:
    rows = [(skill, *(_cell(s.skills[skill]) for s in summaries)) for skill in summaries[0].skills]
    table = _table("Gold score by skill.", ("skill", *(s.name for s in summaries)), rows)
    caption = f"Gold score by skill, with {confidence:.0%} intervals. 1 is a right answer in good form."
    return f"{_figure(plot_skills(summaries), caption)}<details><summary>The same as a table</summary>{table}</details>"


def _cell(interval: Interval) -> str:
    if not interval.n:
        return "<span class=small>not measured</span>"
    return (
        f"{interval.value:.2f}<br><span class=small>{interval.low:.2f} to {interval.high:.2f}, n = {interval.n}</span>"
    )


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column names its rows. Heads and names are text, the other cells are HTML.

    A narrow screen scrolls it sideways, with the keyboard too.
    """
    heads = "".join(f"<th scope=col>{escape(title)}</th>" for title in head)
    body = "".join(
        f"<tr><th scope=row>{escape(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        for name, *cells in rows
    )
    return (
        f'<div class=scroll role=group tabindex=0 aria-label="{escape(caption)}"><table>'
        f"<caption><span>{escape(caption)}</span></caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _samples(answers: Mapping[str, Sequence[Answered]]) -> str:
    """A few prompts of every skill, drawn without looking at the scores, with each model's answer."""
    by_skill: dict[str, list[int]] = {}
    for index, answered in enumerate(next(iter(answers.values()))):
        by_skill.setdefault(answered.prompt.skill, []).append(index)
    rng = random.Random(0)
    parts = ["<p>Two prompts of each skill, drawn blindly. The number after an answer is its gold score.</p>"]
    for skill in sorted(by_skill):
        parts.append(f"<h3>{escape(skill)}</h3>")
        drawn = rng.sample(by_skill[skill], min(2, len(by_skill[skill])))
        parts += [_sample({name: given[index] for name, given in answers.items()}) for index in drawn]
    return "".join(parts)


def _sample(answered: Mapping[str, Answered]) -> str:
    """One conversation as it was asked, then the answer of every model."""
    prompt = next(iter(answered.values())).prompt
    asked = "".join(f"<dt>{escape(m.role)}</dt><dd class=said>{escape(m.content)}</dd>" for m in prompt.messages)
    said = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(a.response) or '<span class=small>nothing</span>'} "
        f"<span class=small>({a.score:.2f})</span></dd>"
        for name, a in answered.items()
    )
    return f"<dl>{asked}{said}</dl>"


def _curation(corpus: Mapping[str, Any]) -> str:
    if not corpus:
        return ""
    rows = [(reason.replace("_", " "), f"{count:,}") for reason, count in corpus.get("reasons", {}).items()]
    return (
        f"<h2>Curation</h2><p>{corpus['read']:,} documents read, {corpus['kept']:,} kept, {corpus['holdout']:,} held "
        f"out, {corpus['dropped']:,} dropped.</p>" + _table("Why they were dropped.", ("reason", "documents"), rows)
    )


def _figure(svg: str, caption: str) -> str:
    named = svg.replace("<svg", f'<svg role="img" aria-label="{escape(caption)}"', 1)
    return (
        f'<figure><div class=scroll role=group tabindex=0 aria-label="Plot: {escape(caption)}">{named}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
