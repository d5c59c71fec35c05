"""What people said, as records that training reads. Pure: rows and their conversation in, records or reasons out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypeVar

from chatwright.product.chats.prompt import prompt_of
from chatwright.product.recording import prompt_hash
from chatwright.records import Comparison, Message, Rating, content_id
from chatwright.store.chats import ChatMessage
from chatwright.store.exports import Said, Sent

RANKINGS = {"left": ((0,), (1,)), "right": ((1,), (0,)), "tie": ((0, 1),), "both_bad": ((0, 1),)}
EMPTY, SAME = "an answer is empty", "both answers are the same text"
CUT = "an answer was cut short"
TWICE = "the same person chose between the same two answers before"
R = TypeVar("R", Comparison, Rating)
Row = tuple[str, str | None, str | None]
"""The id of what a person said, whose it is, and in which chat."""


@dataclass(frozen=True, slots=True)
class Made(Generic[R]):
    """Records, the rows they were made of, and why others are not among them."""

    records: list[R] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, made: R | str, *rows: Row) -> None:
        if isinstance(made, str):
            self.left_out[made] += 1
        else:
            self.records.append(made)
            self.rows.extend(rows)


def comparisons_of(chosen: Sequence[Said], rated: Sequence[Said], sent: Iterable[Sent]) -> Made[Comparison]:
    """From choices between two answers; from praise and blame of one person for answers to one question; and from what
    programs sent. Two answers of which one was chosen teach nothing a second time."""
    made: Made[Comparison] = Made()
    known: set[Any] = set()
    for said in chosen:
        known.add(frozenset(answer.id for answer in said.answers))
        made.add(_once(comparison_of(said), known), _row(said))
    for better, worse in _praised_and_blamed(rated):
        if frozenset((better.answers[0].id, worse.answers[0].id)) not in known:
            made.add(_once(_comparison_of_ratings(better, worse), known), _row(better), _row(worse))
    for one in sent:
        record = one.why_not or replace(Comparison.from_json(one.row), id=one.id, consent=True, meta=_sent_meta(one))
        made.add(record, (one.id, one.person, None))
    return made


def ratings_of(rated: Iterable[Said], sent: Iterable[Sent]) -> Made[Rating]:
    made: Made[Rating] = Made()
    for said in rated:
        made.add(rating_of(said), _row(said))
    for one in sent:
        record = one.why_not or replace(Rating.from_json(one.row), id=one.id, consent=True, meta=_sent_meta(one))
        made.add(record, (one.id, one.person, None))
    return made


def comparison_of(said: Said) -> Comparison | str:
    """A settled choice as a record; otherwise why it is none."""
    if said.why_not:
        return said.why_not
    facts = {"how": said.how, "choice": said.value, "shown": ["left", "right"], "tags": list(said.tags)}
    return _comparison(said, tuple(a.content for a in said.answers), RANKINGS[said.value], said.answers, facts)


def _comparison_of_ratings(better: Said, worse: Said) -> Comparison | str:
    if why_not := better.why_not or worse.why_not:
        return why_not
    answers = (better.answers[0], worse.answers[0])
    facts = {"how": "ratings", "tags": [*better.tags, *worse.tags], "ratings": [better.id, worse.id]}
    made = _comparison(better, tuple(a.content for a in answers), ((0,), (1,)), answers, facts)
    return made if isinstance(made, str) else replace(made, id=f"{better.id}+{worse.id}")


def _comparison(
    said: Said, responses: tuple[str, ...], ranking: tuple[tuple[int, ...], ...], answers: Sequence[ChatMessage],
    facts: dict[str, Any],
) -> Comparison | str:  # fmt: skip
    if not all(text.strip() for text in responses):
        return EMPTY
    if any(answer.status != "done" for answer in answers):
        return CUT
    if len(set(responses)) < len(responses):
        return SAME
    versions = {"versions": [a.version for a in answers], "models": [a.model for a in answers],
                "sampling": [a.sampling for a in answers]}  # fmt: skip
    return Comparison(
        tuple(_prompt(said)), responses, ranking, annotator_of(said.person), "human", consent=True, id=said.id,
        meta=_meta(said) | versions | facts,
    )  # fmt: skip


def rating_of(said: Said) -> Rating | str:
    """A thumb as a record, its prompt and answer in `meta`; otherwise why it is none."""
    (answer,) = said.answers
    if said.why_not or not answer.content.strip():
        return said.why_not or EMPTY
    value: Literal[-1, 1] = 1 if said.value == "1" else -1
    about = {"version": answer.version, "model": answer.model, "sampling": answer.sampling,
             "prompt": [message.to_json() for message in _prompt(said)], "response": answer.content}  # fmt: skip
    return Rating(
        answer.id, value, said.tags, said.text, annotator_of(said.person), "human", True, said.id, _meta(said) | about
    )


def annotator_of(person: str) -> str:
    """A name that is always the same for one person, and tells nobody who that is."""
    return f"person-{content_id(['annotator', person], 12)}"


def _prompt(said: Said) -> list[Message]:
    return [Message.from_json(turn) for turn in prompt_of(said.asked, [said.system])]


def _meta(said: Said) -> dict[str, Any]:
    """`exact`: the prompt here is, to the letter, what was answered. It is not where the person's own instructions or
    memories were part of it, which are theirs and stay."""
    exact = prompt_hash(prompt_of(said.asked, [said.system])) == said.prompt_hash
    return {
        "time": said.at.isoformat(), "prompt_hash": said.prompt_hash, "exact": exact, "arm": said.arm,
        "new_account": said.new_account, "words": said.text,
    }  # fmt: skip


def _sent_meta(sent: Sent) -> dict[str, Any]:
    about = {"time": sent.at.isoformat(), "version": sent.version, "prompt_hash": sent.prompt_hash}
    return dict(sent.row.get("meta") or {}) | about | {"sampling": sent.sampling, "how": "api"}


def _praised_and_blamed(rated: Iterable[Said]) -> list[tuple[Said, Said]]:
    """Pairs of a liked and a disliked answer of one person to one question."""
    questions: dict[tuple[str, str | None], list[Said]] = {}
    for said in rated:
        questions.setdefault((said.person, said.answers[0].parent), []).append(said)
    return [
        (better, worse)
        for about in questions.values()
        for better in about if better.value == "1"
        for worse in about if worse.value == "-1"
    ]  # fmt: skip


def _once(made: Comparison | str, known: set[Any]) -> Comparison | str:
    """Somebody who makes the same two texts fight again and again is heard once."""
    if isinstance(made, str):
        return made
    key = (made.annotator, made.prompt, frozenset(made.responses))
    if key in known:
        return TWICE
    known.add(key)
    return made


def _row(said: Said) -> Row:
    return said.id, said.person, said.chat
