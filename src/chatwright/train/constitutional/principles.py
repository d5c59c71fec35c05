"""The constitution: principles in a TOML file, and how they are put to a critic.

A principle has three sentences: a critique request, a revision request, and an instruction that compares two answers
(Bai et al. 2022, "Constitutional AI", sections 3.1 and 4.1). Examples show a critic what is wanted; among them must be
one in which nothing needs to change, or every answer would be found at fault. Everything a critic reads is rendered
here, as chat messages, so that the model itself and any endpoint read the same.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from chatwright.errors import InputError
from chatwright.records import Correction, Demonstration, Message, Messages, content_id

ANSWER_WITH_LETTER = "Answer with the letter A or B."
REASON_FIRST = "First say in one or two sentences what speaks for each of them."
LETTERS = ("A", "B")
_SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, slots=True)
class Principle:
    """One rule of a constitution, in the three forms in which it is put."""

    id: str
    critique: str
    revision: str
    comparison: str


@dataclass(frozen=True, slots=True)
class Constitution:
    """A version of a constitution. A critique that says `nothing_to_change` leaves the answer as it is."""

    name: str
    version: str
    principles: tuple[Principle, ...]
    nothing_to_change: str
    examples: tuple[Correction, ...] = ()

    @property
    def id(self) -> str:
        """Derived from all that a critic may read, so that artefacts name exactly the text that made them."""
        read = {
            "name": self.name, "version": self.version, "nothing_to_change": self.nothing_to_change,
            "principles": [[p.id, p.critique, p.revision, p.comparison] for p in self.principles],
            "examples": [
                [[m.to_json() for m in e.prompt], e.answer, e.principle, e.critique, e.revision] for e in self.examples
            ],
        }  # fmt: skip
        return f"constitution-{content_id(read, 12)}"

    def principle(self, ident: str) -> Principle:
        """Raises InputError where there is none of this id."""
        for principle in self.principles:
            if principle.id == ident:
                return principle
        raise InputError(f"the constitution {self.name} has no principle {ident!r}")

    def content(self, critique: str) -> bool:
        """Whether this critique finds nothing to change: says so at once, or in its last sentence after its reasons."""
        nothing = self.nothing_to_change.lower().rstrip(". ")
        said = critique.strip().lower()
        return said.startswith(nothing) or _SENTENCE_ENDS.split(said)[-1].startswith(nothing)

    # What a critic reads.

    def critique_turns(self, prompt: Messages, answer: str, principle: Principle, shots: int = 0) -> Messages:
        """The conversation that waits for a critique, behind the first `shots` examples."""
        system = prompt[:1] if prompt[0].role == "system" else ()
        shown = tuple(turn for example in self.examples[:shots] for turn in self.turns(example))
        asked = (*prompt[len(system) :], Message("assistant", answer), Message("user", principle.critique))
        return (*system, *shown, *asked)

    def revision_turns(self, asked: Messages, critique: str, principle: Principle) -> Messages:
        """The conversation `asked`, which waited for its critique, with that critique, waiting for the revision."""
        return (*asked, Message("assistant", critique), Message("user", principle.revision))

    def turns(self, correction: Correction) -> Messages:
        """A whole round as messages: prompt, answer, critique and, where something changed, revision."""
        principle = self.principle(correction.principle)
        asked = self.critique_turns(correction.prompt, correction.answer, principle)
        if not correction.changed:
            return (*asked, Message("assistant", correction.critique))
        return (
            *self.revision_turns(asked, correction.critique, principle), Message("assistant", correction.revision)
        )  # fmt: skip

    def demonstration(self, correction: Correction, **more: Any) -> Demonstration:
        """The round as a demonstration for a critic; the answer under review is given, not learned."""
        return Demonstration(self.turns(correction), given=len(correction.prompt) + 1, **more)


def comparison_turns(
    prompt: Messages, first: str, second: str, principle: Principle, *, reason: bool = False
) -> Messages:
    """One question that shows a conversation and two answers, (A) and (B), and waits for a letter.

    With `reason` it waits for what speaks for each; `letter_turns` then asks for the letter.
    """
    spoken = "\n".join(f"{m.role.capitalize()}: {m.content}" for m in prompt)
    options = f"(A) {first}\n(B) {second}"
    last = REASON_FIRST if reason else ANSWER_WITH_LETTER
    return (Message("user", f"{principle.comparison}\n\n{spoken}\n\n{options}\n\n{last}"),)


def letter_turns(asked: Messages, reasoning: str) -> Messages:
    return (*asked, Message("assistant", reasoning), Message("user", ANSWER_WITH_LETTER))


# The file.


def default_constitution() -> Constitution:
    """The one that comes with Chatwright."""
    text = files("chatwright.train.constitutional").joinpath("data/constitution.toml").read_text("utf-8")
    return parse_constitution(text, "the default constitution")


def load_constitution(path: Path) -> Constitution:
    """Raises InputError naming the file and, where one is at fault, the principle."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"the constitution {path} cannot be read ({why})") from None
    return parse_constitution(text, str(path))


def parse_constitution(text: str, where: str) -> Constitution:
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where} is not valid TOML ({error})") from None
    unknown = tree.keys() - {"name", "version", "nothing_to_change", "principles", "examples"}
    if unknown:
        raise InputError(f"{where} has {min(unknown)!r}, which no constitution knows; take it out")
    name, version, nothing = (_text(tree, key, where) for key in ("name", "version", "nothing_to_change"))
    principles = tuple(_principle(row, f"{where}, principle {n}") for n, row in _tables(tree, "principles", where))
    if not principles:
        raise InputError(f"{where} has no principle; write at least one [[principles]]")
    ids = [p.id for p in principles]
    if twice := next((i for i in ids if ids.count(i) > 1), None):
        raise InputError(f"{where} has two principles {twice!r}; give one of them another id")
    constitution = Constitution(name, version, principles, nothing)
    rows = _tables(tree, "examples", where)
    examples = tuple(_example(row, constitution, f"{where}, example {n}") for n, row in rows)
    if examples and all(e.changed for e in examples):
        raise InputError(
            f"in every example of {where} the answer is changed; add one whose critique is {nothing!r}, or critics "
            "learn to find fault with everything"
        )
    return Constitution(name, version, principles, nothing, examples)


def _principle(row: Mapping[str, Any], where: str) -> Principle:
    known = ("id", "critique", "revision", "comparison")
    ident = _text(row, "id", where)
    where = f"{where} ({ident})"
    if unknown := row.keys() - set(known):
        raise InputError(f"{where} has {min(unknown)!r}; it may have {', '.join(known)}")
    return Principle(ident, *(_text(row, key, where) for key in known[1:]))


def _example(row: Mapping[str, Any], constitution: Constitution, where: str) -> Correction:
    prompt, answer, critique = (_text(row, key, where) for key in ("prompt", "answer", "critique"))
    principle = constitution.principle(_text(row, "principle", where)).id
    content = constitution.content(critique)
    if content == ("revision" in row):
        wanted = "no revision" if content else "a revision, or the critique that nothing needs to change"
        raise InputError(f"{where} (principle {principle}) needs {wanted}")
    revision = answer if content else _text(row, "revision", where)
    return Correction((Message("user", prompt),), answer, principle, critique, revision)


def _tables(tree: Mapping[str, Any], key: str, where: str) -> Sequence[tuple[int, Mapping[str, Any]]]:
    rows = tree.get(key, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{key} of {where} must be tables, each beginning with [[{key}]]")
    return list(enumerate(rows, start=1))


def _text(row: Mapping[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where} needs {key} as text, which {'is missing' if value is None else 'it is not'}")
    return value.strip()
