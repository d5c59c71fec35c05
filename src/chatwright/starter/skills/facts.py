"""Skills that ask for one fact of the tables: facts, opposites, definitions, spelling, Spanish and French."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Literal

from chatwright.starter.case import Case, assistant, user
from chatwright.starter.phrasing import NOUN_FRAMES, dress
from chatwright.starter.split import Split, split_of
from chatwright.starter.styles import choose_style, render
from chatwright.starter.world import Fact, by_family, choose_fact, facts_of, table, upper_first

OFFERS = (
    "I can also tell you {label}.", "Ask me if you want to know {label} too.",
    "Would you like to know {label} as well?",
)  # fmt: skip
PLAIN_OFFERS = ("Just ask if you want to know more.", "Would you like to know more?", "I am happy to tell you more.")
WORD_OFFERS = ("I can use it in a sentence if you like.", "Would you like another word?", "Just ask for more words.")
FOLLOW_UPS = ("And {label}?", "And what about {label}?", "What about {label}?", "Thanks. And {label}?")


UNASKED_SHARE = 0.3
"""Held-out questions about facts that only the corpus tells; the others put a taught fact into a new wording."""


def fact_case(rng: random.Random, split: Split, skill: str) -> Case:
    """A question about one fact. What is held out is the composition: fact and wording, or the fact altogether.

    A held-out question's `truth["heldout"]` says which: "wording", of a fact that demonstrations draw on (a rare one
    may not have come up), or "fact", which no demonstration asks for.
    """
    if split == "heldout" and rng.random() < UNASKED_SHARE:
        fact = choose_fact(rng, skill, "heldout")
        text, _ = question(rng, fact)
        return _heldout(_case(rng, fact, (user(dress(rng, text)),)), "fact")
    while True:
        fact = choose_fact(rng, skill, "train")
        if skill == "facts" and split == "train" and rng.random() < 0.12:
            follow_up = _follow_up(rng, fact)
            if follow_up:
                return follow_up
        text, frame = question(rng, fact)
        key = f"{fact.key}|{frame}"
        if split_of(key) == split:
            case = replace(_case(rng, fact, (user(dress(rng, text)),)), key=key)
            return _heldout(case, "wording") if split == "heldout" else case


def _heldout(case: Case, kind: Literal["wording", "fact"]) -> Case:
    return replace(case, truth=case.truth | {"heldout": kind})


def question(rng: random.Random, fact: Fact) -> tuple[str, str]:
    """The question and the frame it was made from."""
    family = fact.family
    if rng.random() < 0.6:
        frame = rng.choice(family.asks)
        return fact.write(frame), frame
    frame = rng.choice(NOUN_FRAMES)
    return upper_first(frame.replace("{np}", fact.fill(family.np))), frame


def _case(rng: random.Random, fact: Fact, turns: tuple) -> Case:
    family = fact.family
    template = family.says[0] if rng.random() < 0.75 else family.says[1]
    others = [f for f in by_family(family.id) if not set(f.values) & set(fact.values)]
    wrong_value = rng.choice(others).values[0]
    truth = {"kind": "fact", "family": family.id, "entity": fact.entity, "answers": list(fact.values)}
    return Case(
        skill=family.skill,
        key=fact.key,
        turns=turns,
        truth=truth,
        full=fact.write(template),
        extra=_extra(rng, fact),
        bare=f"{upper_first(fact.values[0])}.",
        wrong=fact.write(family.says[0], wrong_value),
    )


def _extra(rng: random.Random, fact: Fact) -> str:
    """A related fact that is not held out, an example, or an offer."""
    row = next(r for r in table(fact.family.table) if r["name"] == fact.entity)
    if fact.family.skill == "opposites" and rng.random() < 0.7:
        return f"For example: {row['sentence']}"
    if fact.family.skill == "definitions" and rng.random() < 0.7:
        return f"{row['example']}"
    if fact.family.skill == "spelling":
        return f"It has {len(fact.entity)} letters."
    if fact.family.skill != "facts":
        return rng.choice(WORD_OFFERS)
    related = [f for f in facts_of(fact.family.table, fact.entity) if f is not fact and f.split == "train"]
    if not related:
        return rng.choice(PLAIN_OFFERS)
    other = rng.choice(related)
    if rng.random() < 0.5:
        return other.write(other.family.it)
    return rng.choice(OFFERS).replace("{label}", other.family.label)


def _follow_up(rng: random.Random, first: Fact) -> Case | None:
    """A question that only its history makes clear: "And its currency?"."""
    related = [f for f in facts_of(first.family.table, first.entity) if f.split == "train" and f.family != first.family]
    opening = [f for f in facts_of(first.family.table, first.entity) if f.split == "train" and f not in related[:1]]
    if not related or not opening or not related[0].family.label.startswith("its"):
        return None
    text, frame = question(rng, opening[0])
    if split_of(f"{opening[0].key}|{frame}") == "heldout":
        return None
    start = _case(rng, opening[0], (user(dress(rng, text)),))
    answer = render(start, choose_style(rng), rng)
    ask = rng.choice(FOLLOW_UPS).replace("{label}", related[0].family.label)
    return _case(rng, related[0], (*start.turns, assistant(answer), user(ask)))
