"""The facts of the small world: tables of entities, read once, and the choice of one by popularity."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import accumulate

from chatwright.starter.families import FAMILIES, Family
from chatwright.starter.split import Split, split_of

ZIPF_EXPONENT = 1.1  # the tenth country is asked for a fifth as often as the first
COMMON = frozenset({"countries", "makers", "places", "states", "planets", "months", "days", "things", "foods"})


@dataclass(frozen=True, slots=True)
class Fact:
    family: Family
    entity: str
    values: tuple[str, ...]  # the first is the usual answer, the others are accepted too
    rank: int

    @property
    def key(self) -> str:
        return f"{self.family.id}:{self.entity}"

    @property
    def split(self) -> Split:
        return split_of(self.key)

    def write(self, template: str, value: str | None = None) -> str:
        """A whole sentence: `template` filled, with a capital at its start."""
        return upper_first(self.fill(template, value))

    def fill(self, template: str, value: str | None = None) -> str:
        value = value or self.values[0]
        text = template.replace("{e}", self.entity).replace("{a}", with_article(self.entity, self.family.table))
        return text.replace("{av}", indefinite(value)).replace("{v}", value)


def upper_first(text: str) -> str:
    return text[:1].upper() + text[1:]


def indefinite(noun: str) -> str:
    """The noun with a or an; plural and uncountable nouns of the tables never come here."""
    if noun.split(" ", maxsplit=1)[0] in ("a", "an", "the", "music"):
        return noun
    return f"{'an' if noun[0].lower() in 'aeio' or noun.startswith('umb') else 'a'} {noun}"


def with_article(entity: str, table_name: str) -> str:
    return entity if table_name in COMMON else indefinite(entity)


@cache
def table(name: str) -> tuple[dict[str, str], ...]:
    """The rows of `data/<name>.tsv`, most popular first; every row has a name."""
    if name == "spellings":
        return tuple({"name": word, "letters": "-".join(word)} for word in spelling_words())
    lines = (resources.files("chatwright.starter") / "data" / f"{name}.tsv").read_text("utf-8").splitlines()
    columns = lines[0].split("\t")
    return tuple(dict(zip(columns, line.split("\t"), strict=True)) for line in lines[1:])


@cache
def spelling_words() -> tuple[str, ...]:
    sources = ("words_es_fr", "animals", "definitions", "tools", "opposites", "fruits", "jobs", "pasts", "elements")
    words = [row["name"] for name in sources for row in table(name)]
    return tuple(dict.fromkeys(w for w in words if re.fullmatch("[a-z]{3,8}", w)))


@cache
def facts() -> tuple[Fact, ...]:
    return tuple(
        Fact(family, row["name"], tuple(row[family.column].split("/")), rank)
        for family in FAMILIES
        for rank, row in enumerate(table(family.table))
        if row[family.column]
    )


@cache
def facts_of(table_name: str, entity: str) -> tuple[Fact, ...]:
    return tuple(f for f in facts() if f.family.table == table_name and f.entity == entity)


@cache
def by_family(family_id: str) -> tuple[Fact, ...]:
    return tuple(f for f in facts() if f.family.id == family_id)


@cache
def family_of(family_id: str) -> Family:
    return next(f for f in FAMILIES if f.id == family_id)


def popularity(rank: int) -> float:
    return (rank + 3) ** -ZIPF_EXPONENT


@cache
def _pool(skill: str, split: Split | None) -> tuple[tuple[Fact, ...], tuple[float, ...]]:
    """Facts of a skill ("" for all) and one split (None for both), with the running sum of their weights.

    A family weighs by its own figure and by the root of its size, so that twelve months do not hide
    a hundred countries.
    """
    chosen = tuple(f for f in facts() if (not skill or f.family.skill == skill) and split in (None, f.split))
    weights = []
    for fact in chosen:
        members = by_family(fact.family.id)
        share = sum(popularity(f.rank) for f in members)
        weights.append(fact.family.weight * len(members) ** 0.5 * popularity(fact.rank) / share)
    return chosen, tuple(accumulate(weights))


def choose_fact(rng: random.Random, skill: str = "facts", split: Split | None = None) -> Fact:
    """One fact, popular ones more often; the held-out facts follow the popularity the corpus has."""
    chosen, weights = _pool(skill, split)
    return rng.choices(chosen, cum_weights=weights)[0]


def choose_rows(rng: random.Random, name: str, count: int) -> list[dict[str, str]]:
    """`count` different rows of a table, popular ones more often."""
    rows: Sequence[dict[str, str]] = table(name)
    keyed = sorted(range(len(rows)), key=lambda i: rng.random() ** (1 / popularity(i)), reverse=True)
    return [rows[i] for i in keyed[:count]]
