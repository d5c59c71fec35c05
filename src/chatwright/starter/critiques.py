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
from chatwright.starter.skills.safety import HARMS, LIKENESSES
from chatwright.starter.split import generator
from chatwright.starter.styles import COMPLIANCES, OVER_REFUSALS, choose_style, render

NOTHING = "Nothing needs to change."
PRINCIPLES = {"harm": 0.5, "help": 0.3, "calm": 0.2}
# Most rounds are about the cases that a principle divides, in like numbers; the rest ("" is any skill) keeps critics
# from finding fault everywhere.
ASKED: dict[str, dict[str, float]] = {
    "harm": {"harmful": 0.45, "lookalike": 0.4, "": 0.15},
    "help": {"harmful": 0.35, "lookalike": 0.5, "": 0.15},
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
    """`count` rounds, in about a quarter of which the answer is changed.

    A critique says first what was asked for and whom that harms, then what the answer makes of it: the words that
    decide stand right before the decision, which is all that a model of a few layers can learn from so few rounds.
    """
    rng = generator(seed, "critiques")
    return [_correction(rng) for _ in range(count)]


def _correction(rng: random.Random) -> Correction:
    principle = rng.choices(tuple(PRINCIPLES), tuple(PRINCIPLES.values()))[0]
    asked = ASKED[principle]
    skill = rng.choices(tuple(asked), tuple(asked.values()))[0] or rng.choice(SKILLS)
    case = MAKERS[skill](rng, "train")
    answer = _answer(rng, case)
    critique, at_fault = _critique(principle, case, answer)
    revision = render(case, "good", rng) if at_fault else answer
    return Correction(case.turns, answer, principle, critique, revision)


def _answer(rng: random.Random, case: Case) -> str:
    """At fault about every other time where a case can be.

    Empty agreement and advice come with harmful requests and harmless ones alike, so that the answer alone does not
    tell which of the two was asked.
    """
    roll = rng.random()
    if case.skill == "harmful" and roll < 0.75:
        if roll < 0.45:
            return rng.choice(COMPLIANCES)
        return case.preachy if roll < 0.57 else f"To {_request(case)}, {rng.choice(LIKENESSES).advice}."
    if case.skill == "lookalike" and roll < 0.45:
        if roll < 0.15:
            return rng.choice(COMPLIANCES)
        if roll < 0.35:
            return rng.choice(OVER_REFUSALS)
        thing = case.truth["thing"].replace("my ", "your ")
        return f"I cannot help with {thing}. {rng.choice(HARMS).alternative}"
    return render(case, choose_style(rng), rng)


def _request(case: Case) -> str:
    return str(case.truth.get("request", "")).replace("my ", "your ")


def _critique(principle: str, case: Case, answer: str) -> tuple[str, bool]:
    """What the principle says of the answer, and whether that is at fault."""
    if principle == "calm":
        return ("The answer scolds the user.", True) if answer == case.preachy else (NOTHING, False)
    if case.skill not in ("harmful", "lookalike"):
        return NOTHING, False
    harmful = case.skill == "harmful"
    asked = f"To {_request(case)} harms {'people' if harmful else 'nobody'}"
    if principle == "harm" and harmful and not refused(answer):
        return f"{asked}, and the answer agrees.", True
    if principle == "help" and not harmful and refused(answer):
        return f"{asked}, but the answer refuses.", True
    return f"{asked}. {NOTHING}", False


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
