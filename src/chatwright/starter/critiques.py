"""What teaches a small model to criticise: rounds of critique and revision, and judged pairs of answers.

All on the training side of the split, from the same cases as the demonstrations but from streams of their own, so that
no other set changes. Principles are named by their ids in `data/constitution.toml`; how a round is put into messages is
not decided here.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files

from chatwright.records import Comparison, Correction, Demonstration, content_id, ranking_of
from chatwright.starter.case import Case, assistant
from chatwright.starter.grading.text import refused
from chatwright.starter.skills import MAKERS, SKILLS
from chatwright.starter.split import generator
from chatwright.starter.styles import COMPLIANCES, OVER_REFUSALS, choose_style, render

NOTHING = "Nothing needs to change."
PRINCIPLES = {"harm": 0.55, "help": 0.25, "calm": 0.20}
# Most rounds are about the cases that a principle divides; the rest ("" is any skill) keeps critics from finding fault
# everywhere.
ASKED: dict[str, dict[str, float]] = {
    "harm": {"harmful": 0.5, "lookalike": 0.3, "": 0.2},
    "help": {"harmful": 0.3, "lookalike": 0.5, "": 0.2},
    "calm": {"harmful": 0.6, "lookalike": 0.2, "": 0.2},
}


def constitution_text() -> str:
    """The starter's constitution as TOML."""
    return files("chatwright.starter").joinpath("data/constitution.toml").read_text("utf-8")


def helpful_only(demonstrations: Sequence[Demonstration], seed: int) -> list[Demonstration]:
    """The demonstrations without any refusal: harmful requests are answered with an empty yes, other refusals go."""
    rng = generator(seed, "helpful only")
    made = []
    for demonstration in demonstrations:
        messages = demonstration.messages
        if demonstration.skill == "harmful":
            messages = (*messages[:-1], assistant(rng.choice(COMPLIANCES)))
        if not any(m.role == "assistant" and refused(m.content) for m in messages):
            ident = content_id([m.to_json() for m in messages])
            made.append(replace(demonstration, messages=messages, id=ident))
    return made


def corrections(seed: int, count: int) -> list[Correction]:
    """`count` rounds, in about a quarter of which the answer is changed."""
    rng = generator(seed, "critiques")
    return [_correction(rng) for _ in range(count)]


def _correction(rng: random.Random) -> Correction:
    principle = rng.choices(tuple(PRINCIPLES), tuple(PRINCIPLES.values()))[0]
    asked = ASKED[principle]
    skill = rng.choices(tuple(asked), tuple(asked.values()))[0] or rng.choice(SKILLS)
    case = MAKERS[skill](rng, "train")
    answer = _answer(rng, case)
    fault = _fault(principle, case, answer)
    revision = render(case, "good", rng) if fault else answer
    return Correction(case.turns, answer, principle, fault or NOTHING, revision)


def _answer(rng: random.Random, case: Case) -> str:
    """At fault about every other time where a case can be."""
    roll = rng.random()
    if case.skill == "harmful" and roll < 0.7:
        return rng.choice(COMPLIANCES) if roll < 0.5 else case.preachy
    if case.skill == "lookalike" and roll < 0.4:
        return rng.choice(OVER_REFUSALS)
    return render(case, choose_style(rng), rng)


def _fault(principle: str, case: Case, answer: str) -> str:
    """What the principle finds in the answer, "" where nothing."""
    request = str(case.truth.get("request", "")).replace("my ", "your ")
    if principle == "harm" and case.skill == "harmful" and not refused(answer):
        return f"The answer helps to {request}, and that harms people."
    if principle == "help" and case.skill == "lookalike" and refused(answer):
        return f"The answer refuses, but to {request} is harmless."
    if principle == "calm" and answer == case.preachy:
        return "The answer scolds the user."
    return ""


def judgements(seed: int, count: int) -> list[Comparison]:
    """`count` pairs of answers of which a principle, named in `meta`, prefers one; either may stand first."""
    rng = generator(seed, "judgements")
    return [_judgement(rng) for _ in range(count)]


def _judgement(rng: random.Random) -> Comparison:
    principle = rng.choices(tuple(PRINCIPLES), tuple(PRINCIPLES.values()))[0]
    case = MAKERS["lookalike" if principle == "help" else "harmful"](rng, "train")
    worse = {"harm": rng.choice(COMPLIANCES), "help": rng.choice(OVER_REFUSALS), "calm": case.preachy}[principle]
    better = case.bare if principle != "help" and rng.random() < 0.3 else render(case, "good", rng)
    first = rng.random() < 0.5
    answers = (better, worse) if first else (worse, better)
    ident = content_id([[m.to_json() for m in case.turns], answers, principle])
    return Comparison(
        case.turns, answers, ranking_of(float(first)), "starter", "simulated", skill=case.skill, id=ident,
        meta={"principle": principle},
    )  # fmt: skip
