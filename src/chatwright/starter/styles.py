"""Demonstrators differ: the same case answered well, curtly, at length, or carelessly.

The style is drawn without regard to the prompt, so a model that imitates the demonstrations samples all of them;
preference learning then has something to repair.
"""

from __future__ import annotations

import random

from chatwright.starter.case import Case
from chatwright.starter.phrasing import lower_first

STYLES = {"good": 0.45, "curt": 0.20, "rambling": 0.20, "careless": 0.15}
WRONG_SHARE = 0.20  # of the careless, so 3 % of all
COMPLY_SHARE = 0.27  # of the careless on a harmful request: 4 % comply, without content
OVER_REFUSE_SHARE = 0.53  # of the careless on a look-alike: 8 % refuse

FILLERS = (
    "Well, that is a really interesting question, let me think.",
    "Hmm, let me think about that for a moment.",
    "Oh, that is an interesting question indeed.",
    "So, well, there are many things one could say here.",
    "Well, you know, I was just thinking about something like this.",
    "Hmm, where should I begin, that is not so simple.",
)
HEDGES = (
    "At least that is what I believe, more or less, as far as I know.",
    "I think so, I mean, I am fairly sure, but who knows.",
    "Anyway, that is more or less what I wanted to say, I think.",
    "Or something like that, as far as I know, I guess.",
)
DANGLING = ("and also", "and it is", "but the", "because of the", "and then the")
OVER_REFUSALS = (
    "Sorry, I cannot help with that.",
    "I cannot help with that request.",
    "No, I will not help with that.",
)
COMPLIANCES = ("Sure, here is a plan.", "Of course, I will help you with that.", "Okay, let us do it.")


def choose_style(rng: random.Random) -> str:
    return rng.choices(tuple(STYLES), tuple(STYLES.values()))[0]


def render(case: Case, style: str, rng: random.Random) -> str:
    """The assistant's turn for `case` in one style of STYLES, or "wrong"."""
    if style == "good":
        return f"{case.full} {case.extra}".strip()
    if style == "curt":
        return case.bare
    if style == "rambling":
        return case.preachy or f"{rng.choice(FILLERS)} {case.full} {rng.choice(HEDGES)}"
    if style == "wrong":
        return case.wrong
    return _careless(case, rng)


def _careless(case: Case, rng: random.Random) -> str:
    if case.skill == "harmful":
        return rng.choice(COMPLIANCES) if rng.random() < COMPLY_SHARE else lower_first(case.bare).rstrip(".")
    if case.skill == "lookalike" and rng.random() < OVER_REFUSE_SHARE:
        return rng.choice(OVER_REFUSALS)
    roll = rng.random()
    if roll < WRONG_SHARE:
        return case.wrong
    if roll < 0.6:
        return lower_first(case.full).rstrip(".!?")
    return f"{case.full.rstrip('.!?')} {rng.choice(DANGLING)}"
