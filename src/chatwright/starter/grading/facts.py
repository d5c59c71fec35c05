"""Graders of skills whose answer is one value of the tables."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from chatwright.starter.grading.judged import Judged, wrong
from chatwright.starter.grading.text import contains, content_stems, sentences, stem, words
from chatwright.starter.world import Fact, by_family, facts_of, family_of, table

_OFFER = re.compile(
    r"\b(would you like|i can (also|use)|ask me|just ask|happy to tell|do you want|let me know)\b", re.IGNORECASE
)
_NEGATION = frozenset(["not", "never", "isn't", "aren't", "doesn't", "don't", "cannot", "no", "nor"])
_LETTERS = re.compile(r"\b[a-zA-Z](?:[-\s,.]{1,2}[a-zA-Z]\b)+")
_TOO_PLAIN = frozenset({"I", "He", "As", "No", "In", "At", "O", "A"})


def judge_fact(truth: dict[str, Any], response: str, asked: str) -> Judged:
    family_id, entity = truth["family"], truth["entity"]
    skill = family_of(family_id).skill
    if skill == "spelling":
        return _judge_spelling(entity, response)
    if skill == "definitions":
        return _judge_definition(entity, truth["answers"][0], response)
    read = _Reader(family_id)
    said = read.words(response)
    answers = [a for a in truth["answers"] if contains(said, read.words(a))]
    if not answers:
        return wrong("the answer is missing")
    if read.negated(response, answers):
        return wrong("the answer is denied")
    own = facts_of(family_of(family_id).table, entity)
    spoken = [t for f in own for t in (f.family.np, f.family.label, f.family.it, *f.family.says)]
    excused = read.words(" ".join([asked, *spoken, _own_text(family_id, entity)]))
    claims = read.words(_without_example(response, entity, answers)) if skill == "opposites" else said
    for rival in read.rivals(truth["answers"]):
        if contains(claims, list(rival)) and not contains(excused, list(rival)):
            return wrong(f"a second answer stands beside it: {' '.join(rival)}")
    if _claims_otherwise(family_id, own, response, truth["answers"]):
        return wrong("it says something else of the same thing")
    extra, sound = _extra(family_id, own, response, answers, read)
    bare = len(words(response)) <= len(words(answers[0])) + 1
    return Judged(1.0 if sound else 0.8, extra, whole=not bare, notes=() if sound else ("the addition is false",))


def _claims_otherwise(family_id: str, own: tuple[Fact, ...], response: str, answers: list[str]) -> bool:
    """Whether a sentence of the family about this very entity goes on with another value."""
    said = " ".join(response.lower().split())
    right = [re.sub(r"^(the|an?) ", "", a.lower()) for a in answers]
    for fact in (f for f in own if f.family.id == family_id):
        for template in fact.family.says:
            opening, value, _ = re.split(r"(\{a?v\})", template, maxsplit=1) if "v}" in template else (template, "", "")
            if not value or "{" not in opening:
                continue
            claim = re.escape(fact.fill(opening).lower().strip()) + r" (?:(?:the|an?) )?(?=(.*))"
            for found in re.finditer(claim.replace(r"\ ", " "), said):
                if not any(re.match(re.escape(a) + r"\b", found.group(1)) for a in right):
                    return True
    return False


class _Reader:
    """Reads a family's values as the family needs it: stems, exact words, or case-sensitive symbols."""

    def __init__(self, family_id: str) -> None:
        self.family = family_of(family_id)
        self.symbols = family_id == "elements.symbol"

    def words(self, text: str) -> list[str]:
        if self.symbols:
            return re.findall(r"\b[A-Z][a-z]?\b", text)
        text = re.sub(r"\b(the|a|an) ", "", text, flags=re.IGNORECASE)
        found = words(text)
        return found if self.family.exact else [stem(w) for w in found]

    def rivals(self, answers: Iterable[str]) -> list[tuple[str, ...]]:
        """Other values of the family and other entities of its table, as word tuples."""
        right = [self.words(a) for a in answers]
        found = [v for v in _vocabulary(self.family.id) if not any(contains(r, list(v)) for r in right)]
        return [v for v in found if not (self.symbols and v[0] in _TOO_PLAIN)]

    def negated(self, response: str, answers: list[str]) -> bool:
        """Whether every sentence that names the answer also denies it shortly before."""
        naming = [self.words(s) for s in sentences(response)]
        raw = [words(s) for s in sentences(response)]
        hits = [r for s, r in zip(naming, raw, strict=True) if any(contains(s, self.words(a)) for a in answers)]
        return self.family.skill == "facts" and bool(hits) and all(_NEGATION & set(hit) for hit in hits)


@cache
def _vocabulary(family_id: str) -> tuple[tuple[str, ...], ...]:
    read = _Reader(family_id)
    values = {tuple(read.words(v)) for f in by_family(family_id) for v in f.values}
    if read.family.skill == "facts" and not read.symbols and family_id not in ("plurals.plural", "pasts.past"):
        values |= {tuple(read.words(f.entity)) for f in by_family(family_id)}
    return tuple(sorted(v for v in values if v))


def _without_example(response: str, entity: str, answers: list[str]) -> str:
    """The response less a short sentence that shows both words in use; such a sentence is full of other words."""
    shows = [
        s
        for s in sentences(response)
        if "opposite" not in s and {entity, *answers[:1]} <= set(words(s)) and 5 < len(words(s)) < 16
    ]
    return " ".join(s for s in sentences(response) if s not in shows[:1])


def _own_text(family_id: str, entity: str) -> str:
    row = next(r for r in table(family_of(family_id).table) if r["name"] == entity)
    return " ".join(row.values()).replace("/", " ")


def _extra(
    family_id: str, own: tuple[Fact, ...], response: str, answers: list[str], read: _Reader
) -> tuple[float, bool]:
    """(worth of what stands beside the answer, whether it is not false)."""
    naming = [s for s in sentences(response) if any(contains(read.words(s), read.words(a)) for a in answers)]
    if read.family.skill == "opposites" and naming:
        naming = naming[:1]  # an example may use the word again
    beside = " ".join(s for s in sentences(response) if s not in naming)
    if len(words(beside)) < 3:
        return 0.0, True
    if _OFFER.search(beside):
        return 1.0, True
    said = [stem(w) for w in words(beside)]
    plain = [f for f in own if f.family.id != family_id]
    if any(contains(said, [stem(w) for w in words(v)]) for f in plain for v in f.values):
        return 1.0, True
    for fact in plain:
        vocabulary = {v for f in by_family(fact.family.id) for v in f.values if len(v) > 2}
        if any(contains(said, [stem(w) for w in words(v)]) for v in vocabulary):
            return 0.0, False
    entity = own[0].entity
    row_words = content_stems(_own_text(family_id, entity))
    return (1.0 if len(content_stems(beside) & row_words) >= 2 else 0.4), True


def _judge_spelling(word: str, response: str) -> Judged:
    runs = [re.sub(r"[^a-z]", "", run.lower()) for run in _LETTERS.findall(response)]
    runs = [r for r in runs if len(r) > 1]
    if not runs:
        return wrong("no letters one by one")
    if any(r != word for r in runs):
        return wrong(f"the letters are {runs[0]}")
    counts = [int(w) for w in words(_LETTERS.sub("", response)) if w.isdigit()]
    if counts and counts[0] != len(word):
        return Judged(0.8, 0.0, notes=("the count of letters is false",))
    plain = words(_LETTERS.sub("", response))
    extra = 1.0 if counts or _OFFER.search(response) else 0.0
    return Judged(1.0, extra, whole=len(plain) >= 2)


def _judge_definition(word: str, definition: str, response: str) -> Judged:
    """At least two thirds of the content words of the definition, and no other word's definition beside it."""
    wanted, said = content_stems(definition), content_stems(response)
    share = len(wanted & said) / len(wanted)
    if share < 0.6:
        return wrong(f"only {share:.0%} of the meaning is there")
    row = next(r for r in table("definitions") if r["name"] == word)
    for other in table("definitions"):
        theirs = content_stems(other["definition"])
        if other is not row and len(theirs) >= 3 and theirs <= said and not theirs <= wanted | {stem(word)}:
            return wrong(f"it also defines {other['name']}")
    example = content_stems(row["example"])
    if len(re.findall(r"\b(means?|stands for|is defined as)\b", response)) > 1:
        return wrong("it defines twice")
    rest = [s for s in sentences(response) if len(content_stems(s) & wanted) / len(wanted) < 0.6]
    beside = " ".join(rest)
    useful = bool(_OFFER.search(beside)) or len(example & content_stems(beside)) >= max(1, len(example) // 2)
    extra = 1.0 if useful else 0.2 if len(words(beside)) >= 3 else 0.0
    return Judged(1.0, extra, whole=word in words(response), limit=45)
