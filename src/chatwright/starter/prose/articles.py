"""Encyclopaedia-like prose and talk about facts: every fact stands in several wordings and several companies."""

from __future__ import annotations

import random

from chatwright.starter import people
from chatwright.starter.phrasing import lower_first
from chatwright.starter.world import Fact, by_family, choose_fact, choose_rows, facts_of, popularity

_OPENINGS = (
    "Here are some facts about {e}.", "What should you know about {e}?", "A few words about {e}.",
    "Many people ask about {e}.", "This short text is about {e}.", "Let us talk about {e}.",
    "Children often learn about {e} at school.", "{e} is worth a closer look.", "Some notes on {e} follow.",
    "Have you ever thought about {e}?", "There is much to say about {e}.",
    "In the encyclopaedia there is a page on {e}.", "Today we look at {e}.",
)  # fmt: skip
_LINKS = (
    *([""] * 12),
    "Also, ",
    "And ",
    "Besides, ",
    "In addition, ",
    "As you may know, ",
    "It is said that ",
    "Note that ",
    "Of course, ",
)
_TURNS = (
    "Compare this with {e}.", "Now to {e}.", "Quite different is {e}.", "Then there is {e}.",
    "A second example is {e}.", "And what of {e}?", "Next comes {e}.", "Let us turn to {e}.", "Another case is {e}.",
)  # fmt: skip
_CLOSINGS = (
    "", "", "", "That is all for now.", "So much for today.", "It is easy to remember.", "Try to learn it by heart.",
    "You can look it up in a book.", "Now you know a little more.", "Ask a teacher if you want to know more.",
)  # fmt: skip


def entity_article(rng: random.Random, first: Fact | None = None) -> str:
    """One entity told at some length, then one or two of its neighbours."""
    fact = first or choose_fact(rng, "")
    told = [fact.entity]
    name = fact.family.table
    if len(facts_of(name, fact.entity)) < 4:
        return _neighbours(rng, fact)
    lines = [rng.choice(_OPENINGS).replace("{e}", fact.entity), *_tell(rng, fact, 6)]
    for row in choose_rows(rng, name, 3)[: rng.choice((1, 1, 2))]:
        if row["name"] not in told:
            neighbour = facts_of(name, row["name"])
            lines += [rng.choice(_TURNS).replace("{e}", row["name"]), *_tell(rng, rng.choice(neighbour), 3)]
            told.append(row["name"])
    return _join(rng, lines)


def _tell(rng: random.Random, about: Fact, most: int) -> list[str]:
    """Sentences on one entity, `about` surely among them; after a sentence that names it, "it" may follow."""
    others = [f for f in facts_of(about.family.table, about.entity) if f is not about]
    rng.shuffle(others)
    chosen = [about, *others[: rng.randint(max(1, most - 3), most) - 1]]
    rng.shuffle(chosen)
    lines = []
    for i, fact in enumerate(chosen):
        value = rng.choice(fact.values)
        if i and rng.random() < 0.45:
            lines.append(fact.write(fact.family.it, value))
        else:
            lines.append(_linked(rng, fact.write(rng.choice(fact.family.says), value), fact))
    return lines


def _linked(rng: random.Random, sentence: str, fact: Fact) -> str:
    """The sentence after a link word; a name at its head keeps its capital."""
    link = rng.choice(_LINKS)
    if not link:
        return sentence
    head = sentence.split(" ", maxsplit=1)[0].rstrip(",")
    names = {w for text in (fact.entity, *fact.values) for w in text.split(" ")}
    return link + (
        sentence if head in names and head[:1].isupper() and head.lower() not in names else lower_first(sentence)
    )


def _neighbours(rng: random.Random, first: Fact) -> str:
    """Several entities of one family in a row: a list in prose."""
    family = first.family
    pool = [f for f in by_family(family.id) if f is not first]
    weights = [popularity(f.rank) for f in pool]
    chosen = [first]
    for fact in rng.choices(pool, weights, k=12):
        if fact not in chosen and len(chosen) < 8:
            chosen.append(fact)
    rng.shuffle(chosen)
    lines = [_linked(rng, f.write(rng.choice(f.family.says), rng.choice(f.values)), f) for f in chosen]
    return _join(rng, lines)


def roundup(rng: random.Random, first: Fact | None = None) -> str:
    return _neighbours(rng, first or choose_fact(rng, ""))


_NOTE_STARTS = (
    "Notes from my notebook.", "Things I learned today.", "{n} wrote down what the teacher said.",
    "A page for the quiz tonight.", "{n} likes to collect facts.", "From the school magazine.",
    "{n} read these lines aloud.", "What {n} knows by heart.", "Odds and ends.", "Five minutes of learning.",
    "{n} made cards for the exam.",
)  # fmt: skip


def notes(rng: random.Random, given: list[Fact] | None = None) -> str:
    """Unrelated facts one after the other, as in a notebook; all of `given` where some are given."""
    chosen = given or list(dict.fromkeys(choose_fact(rng, "") for _ in range(rng.randint(6, 9))))
    lines = [_linked(rng, f.write(rng.choice(f.family.says), rng.choice(f.values)), f) for f in chosen]
    return _join(rng, [rng.choice(_NOTE_STARTS).replace("{n}", rng.choice(people.NAMES)), *lines])


def _join(rng: random.Random, lines: list[str]) -> str:
    text = " ".join([*lines, rng.choice(_CLOSINGS)]).strip()
    return text if rng.random() < 0.8 else _paragraphs(rng, text)


def _paragraphs(rng: random.Random, text: str) -> str:
    parts = text.split(". ")
    if len(parts) < 4:
        return text
    cut = rng.randint(2, len(parts) - 2)
    return ". ".join(parts[:cut]) + ".\n\n" + ". ".join(parts[cut:])


# Questions here are worded otherwise than in demonstrations and prompts.
_QUERIES = (
    "I always forget {np}.", "Who can tell us {np}?", "Now I want to hear {np}.", "Next in the quiz: {np}.",
    "Try this one: {np}.", "Do we both know {np}?", "My book does not say {np}.", "Let me test you on {np}.",
    "Let me ask about {np}.",
)  # fmt: skip
_SURE = (
    "",
    "",
    "",
    "That is easy. ",
    "I know that one. ",
    "Yes. ",
    "I think I know. ",
    "We had that at school. ",
    "Of course. ",
)
_PRAISE = (
    "Right.",
    "Correct!",
    "Yes, that is right.",
    "Well done.",
    "Good.",
    "True.",
    "Thank you.",
    "I see.",
    "Exactly.",
)


def quiz(rng: random.Random) -> str:
    """Two people ask each other about facts."""
    one, two = rng.choice(
        (("A", "B"), tuple(rng.sample(people.NAMES, 2)), ("Teacher", rng.choice(people.NAMES)), ("Q", "A"))
    )
    turns = []
    for number, fact in enumerate(dict.fromkeys(choose_fact(rng, "") for _ in range(rng.randint(4, 5)))):
        praise = f"{rng.choice(_PRAISE)} " if number and rng.random() < 0.5 else ""
        turns.append(f"{one}: {praise}{fact.fill(rng.choice(_QUERIES).replace('{np}', fact.family.np))}")
        says = fact.family.says[:1] if rng.random() < 0.6 else fact.family.says
        turns.append(f"{two}: {rng.choice(_SURE)}{fact.write(rng.choice(says))}")
    return "\n".join(turns)
