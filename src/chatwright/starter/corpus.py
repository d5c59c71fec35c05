"""The corpus: clean prose of many kinds, with dirt planted in known places."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chatwright.records import Document
from chatwright.starter import dirt
from chatwright.starter.prose import articles, games, languages, lessons, tales
from chatwright.starter.shingles import Apart
from chatwright.starter.split import generator
from chatwright.starter.world import facts

# Shares of all documents.
DIRT = {"near_duplicate": 0.05, "exact_duplicate": 0.02, "boilerplate": 0.02, "gibberish": 0.02}
PII_SHARE = 0.02
SIMILARITY_LIMIT = 0.6  # clean documents stay below this; curation drops from 0.75 on
FACTS_A_PAGE = 7

KINDS: dict[str, tuple[Callable[[random.Random], str], float]] = {
    "article": (articles.entity_article, 24),
    "roundup": (articles.roundup, 9),
    "notes": (articles.notes, 11),
    "quiz": (articles.quiz, 13),
    "story": (tales.story, 8),
    "meeting": (tales.meeting, 5),
    "portrait": (tales.portrait, 3),
    "assistant": (tales.about_assistants, 1),
    "sums": (lessons.sums, 8),
    "counting": (lessons.counting, 2),
    "spelling": (lessons.spelling, 5),
    "words": (lessons.words, 4),
    "steps": (lessons.steps, 4),
    "code": (lessons.code, 4),
    "echo": (games.echo, 14),
    "cards": (games.who_has, 10),
    "suitcase": (games.suitcase, 5),
    "vocabulary": (languages.vocabulary, 2.5),
    "spanish": (languages.spanish, 1.5),
    "french": (languages.french, 1.5),
}
_LANGUAGES = {"spanish": "es", "french": "fr"}


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents and the truth about them.

    `truth[id]` names what is planted ("near_duplicate", "exact_duplicate", "boilerplate", "pii", "gibberish"); clean
    documents are absent from it. `pii[id]` are the planted strings. `copies[id]` is the original of a duplicate; the
    original always comes first.
    """

    documents: list[Document]
    truth: dict[str, list[str]] = field(default_factory=dict)
    pii: dict[str, list[str]] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)


def corpus(seed: int, documents: int) -> Corpus:
    """`documents` documents in all, the planted ones included; the same for the same seed and count."""
    counts = {label: round(share * documents) for label, share in DIRT.items()}
    rng = generator(seed, "corpus")
    clean = _clean(rng, documents - sum(counts.values()))
    rows: list[dict[str, Any]] = [{"text": text, "kind": kind} for kind, text in clean]
    dirt_rng = generator(seed, "dirt")
    sources = dirt_rng.sample(
        range(len(rows)), k=min(len(rows), counts["near_duplicate"] * 2 + counts["exact_duplicate"])
    )
    _plant_pii(dirt_rng, rows, round(PII_SHARE * documents), set(sources))
    placed = [(i, row) for i, row in enumerate(rows)]
    extra = _copies(dirt_rng, rows, sources, counts)
    for label, make in (("boilerplate", dirt.boilerplate), ("gibberish", dirt.gibberish)):
        extra += [
            (dirt_rng.uniform(0, len(rows)), {"text": make(dirt_rng), "kind": label, "label": label})
            for _ in range(counts[label])
        ]
    ordered = [row for _, row in sorted([*placed, *extra], key=lambda item: item[0])]
    return _corpus(seed, ordered)


def _clean(rng: random.Random, count: int) -> list[tuple[str, str]]:
    """(kind, text) pairs far enough from one another. A page in ten visits every fact in turn, so none is missing."""
    apart = Apart(SIMILARITY_LIMIT)
    kinds, weights = list(KINDS), [weight for _, weight in KINDS.values()]
    made: list[tuple[str, str]] = []
    pages = _pages(rng, count // 4)
    while len(made) < count:
        if len(pages) > 0 and rng.random() < 0.3:
            kind, text = "notes", articles.notes(rng, pages.pop())
        else:
            kind = rng.choices(kinds, weights)[0]
            text = KINDS[kind][0](rng)
        if apart.admit(text):
            made.append((kind, text))
    return made


def _pages(rng: random.Random, most: int) -> list[list[Any]]:
    every = list(facts())
    rng.shuffle(every)
    return [every[i : i + FACTS_A_PAGE] for i in range(0, len(every), FACTS_A_PAGE)][:most]


def _plant_pii(rng: random.Random, rows: list[dict[str, Any]], count: int, spared: set[int]) -> None:
    """Into English prose without code, and not into originals of duplicates."""
    able = [
        i
        for i, row in enumerate(rows)
        if i not in spared and row["kind"] in ("article", "roundup", "notes", "story", "portrait")
    ]
    for index in rng.sample(able, min(count, len(able))):
        text, planted = dirt.personal_data(rng, rows[index]["text"])
        rows[index] |= {"text": text, "label": "pii", "pii": planted}


def _copies(
    rng: random.Random, rows: list[dict[str, Any]], sources: list[int], counts: dict[str, int]
) -> list[tuple[float, dict[str, Any]]]:
    """Duplicates with their place, which is always after the original's."""
    made: list[tuple[float, dict[str, Any]]] = []
    wanted = dict(counts)
    for index in sources:
        label = "exact_duplicate" if wanted["exact_duplicate"] else "near_duplicate"
        if not wanted[label]:
            break
        text = rows[index]["text"] if label == "exact_duplicate" else dirt.near_duplicate(rng, rows[index]["text"])
        if text is not None:
            wanted[label] -= 1
            place = rng.uniform(index + 0.5, len(rows))
            made.append((place, {"text": text, "kind": rows[index]["kind"], "label": label, "of": index}))
    return made


def _corpus(seed: int, rows: list[dict[str, Any]]) -> Corpus:
    built = Corpus([])
    originals: dict[int, str] = {}
    clean_number = 0
    for number, row in enumerate(rows):
        ident = f"starter-{seed}-{number:06d}"
        meta = {
            "origin": f"starter/{row['kind']}",
            "source": "simulated",
            "language": _LANGUAGES.get(row["kind"], "en"),
        }
        built.documents.append(Document(ident, row["text"], meta))
        label = row.get("label")
        if label:
            built.truth[ident] = [label]
        if label == "pii":
            built.pii[ident] = row["pii"]
        if "of" in row:
            built.copies[ident] = originals[row["of"]]
        elif label in (None, "pii"):
            originals[clean_number] = ident
            clean_number += 1
    return built
