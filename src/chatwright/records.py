"""The words every room shares: plain, immutable records without behaviour beyond (de)serialisation.

A record read from outside is checked once, here, by `from_json`; every complaint is one sentence, to which
the reader adds file and line. `source` says who stands behind a row: "human", "model" or "simulated". Rows
of different sources never mix silently.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from chatwright.errors import InputError

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[str, ...] = get_args(Role)

Source = Literal["human", "model", "simulated"]
SOURCES: tuple[str, ...] = get_args(Source)


def canonical_json(value: Any) -> str:
    """JSON with one spelling per value (sorted keys, no spaces), so that equal values hash equally."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def content_id(value: Any, length: int = 16) -> str:
    """The first `length` hex digits of SHA-256 over the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()[:length]


def _whole(text: str) -> str:
    """JSON can spell half a character (a lone surrogate), which no tokenizer and no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the text holds half a character at {error.start} (a lone surrogate); mend it") from None
    return text


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str

    @staticmethod
    def from_json(row: Any) -> Message:
        if not isinstance(row, Mapping):
            raise InputError(f"a message must be an object with role and content, not {type(row).__name__}")
        role, content = row.get("role"), row.get("content")
        if role not in ROLES:
            raise InputError(f"the role {role!r} does not exist; use one of {', '.join(ROLES)}")
        if not isinstance(content, str):
            raise InputError(f"the content of a {role} message must be text, not {type(content).__name__}")
        return Message(role, _whole(content))

    def to_json(self) -> dict[str, str]:
        return {"role": self.role, "content": self.content}


Messages = tuple[Message, ...]


def messages_from_json(rows: Any, *, what: str = "messages") -> Messages:
    """A non-empty list of message objects; a bare string stands for one user message."""
    if isinstance(rows, str):
        rows = [{"role": "user", "content": rows}]
    if not isinstance(rows, Sequence) or not rows:
        raise InputError(f"{what} must be a non-empty list of messages")
    return tuple(Message.from_json(row) for row in rows)


def _source(row: Mapping[str, Any]) -> Source:
    source = row.get("source", "human")
    if source not in SOURCES:
        raise InputError(f"the source {source!r} does not exist; use one of {', '.join(SOURCES)}")
    return source


def _meta(row: Mapping[str, Any]) -> dict[str, Any]:
    meta = row.get("meta") or {}
    if not isinstance(meta, Mapping):
        raise InputError("meta must be an object")
    return dict(meta)


def _weight(row: Mapping[str, Any]) -> float:
    weight = row.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
        raise InputError(f"the weight {weight!r} must be a number of 0 or more")
    return float(weight)


def _consent(row: Mapping[str, Any]) -> bool:
    consent = row.get("consent", True)
    if not isinstance(consent, bool):
        raise InputError(f"consent must be true or false, not {consent!r}")
    return consent


@dataclass(frozen=True, slots=True)
class Document:
    """One text of a corpus. `meta["origin"]` names the file or generator it came from."""

    id: str
    text: str
    meta: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> Document:
        text = row.get("text")
        if not isinstance(text, str):
            raise InputError("a document needs a text field that holds text")
        return Document(str(row.get("id") or content_id(text)), text, _meta(row))

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "text": self.text, "meta": self.meta}


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A conversation whose assistant turns show the behaviour wanted; training data of SFT.

    The first `given` messages are context only: nothing an assistant says in them is learned.
    """

    messages: Messages
    skill: str = ""
    source: Source = "human"
    weight: float = 1.0
    id: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    given: int = 0

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> Demonstration:
        messages = messages_from_json(row.get("messages"))
        if not any(m.role == "assistant" for m in messages):
            raise InputError("a demonstration needs at least one assistant message")
        given = row.get("given", 0)
        if isinstance(given, bool) or not isinstance(given, int) or given < 0:
            raise InputError(f"given must be a number of messages, not {given!r}")
        if not any(m.role == "assistant" for m in messages[given:]):
            raise InputError(f"no assistant message is left to learn behind the {given} given ones")
        ident = str(row.get("id") or content_id([m.to_json() for m in messages]))
        return Demonstration(messages, str(row.get("skill", "")), _source(row), _weight(row), ident, _meta(row), given)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id or content_id([m.to_json() for m in self.messages]),
            "messages": [m.to_json() for m in self.messages],
            "skill": self.skill,
            "source": self.source,
            "weight": self.weight,
            "meta": self.meta,
            **({"given": self.given} if self.given else {}),
        }


@dataclass(frozen=True, slots=True)
class Correction:
    """An answer to a prompt, what one principle finds in it, and the answer written again.

    Where nothing needs to change the revision is the answer. `principle` is the principle's id.
    """

    prompt: Messages
    answer: str
    principle: str
    critique: str
    revision: str

    @property
    def changed(self) -> bool:
        return self.revision != self.answer


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation that waits for an answer. `truth` holds what a programmatic grader needs to judge one.

    A row may name the right `answer`, or the `tests` an answer must pass, beside its prompt instead of inside `truth`.
    """

    messages: Messages
    skill: str = ""
    source: Source = "human"
    truth: dict[str, Any] = field(default_factory=dict)
    id: str = ""

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> Prompt:
        messages = messages_from_json(row.get("messages") or row.get("prompt"), what="messages (or prompt)")
        if messages[-1].role == "assistant":
            raise InputError("a prompt must end with a turn that is not the assistant's")
        ident = str(row.get("id") or content_id([m.to_json() for m in messages]))
        truth = row.get("truth") or {}
        if not isinstance(truth, Mapping):
            raise InputError("truth must be an object")
        beside = {key: row[key] for key in ("answer", "tests") if row.get(key) is not None}
        return Prompt(messages, str(row.get("skill", "")), _source(row), {**truth, **beside}, ident)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id or content_id([m.to_json() for m in self.messages]),
            "messages": [m.to_json() for m in self.messages],
            "skill": self.skill,
            "source": self.source,
            "truth": self.truth,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """K responses to one prompt, ranked by one annotator.

    `ranking` holds groups of response indexes, best group first; indexes in one group are tied. Every index
    0..K-1 stands in exactly one group. `scores` are rubric scores per response where the annotator gave them.
    `preference`, of two responses only, is the probability that response 0 is the better one (a soft label); the
    ranking then says the same, rounded.
    """

    prompt: Messages
    responses: tuple[str, ...]
    ranking: tuple[tuple[int, ...], ...]
    annotator: str = ""
    source: Source = "human"
    weight: float = 1.0
    consent: bool = True
    scores: tuple[dict[str, float], ...] = ()
    skill: str = ""
    id: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    preference: float | None = None

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> Comparison:
        """Reads `ranking` (indexes best first, a nested list is a tie), `preferred` (one index, null = tie) or
        `preference` alone."""
        prompt = messages_from_json(row.get("prompt"), what="prompt")
        raw = row.get("responses")
        if not isinstance(raw, Sequence) or isinstance(raw, str) or len(raw) < 2:
            raise InputError("a comparison needs a list of at least two responses")
        contents = [r.get("content") if isinstance(r, Mapping) else r for r in raw]
        texts = tuple(_whole(text) for text in contents if isinstance(text, str))
        if len(texts) < len(contents):
            raise InputError("every response must be text or an object with content")
        preference = _preference(row, len(texts))
        if preference is None or row.get("ranking") is not None or "preferred" in row:
            ranking = _ranking(row, len(texts))
        else:
            ranking = ranking_of(preference)
        if preference is not None and [*map(set, ranking)] != [*map(set, ranking_of(preference))]:
            raise InputError(f"the preference {preference:g} and the ranking contradict each other; keep one of them")
        identity = [[m.to_json() for m in prompt], texts, ranking, *([] if preference is None else [preference])]
        ident = str(row.get("id") or content_id(identity))
        return Comparison(
            prompt, texts, ranking, str(row.get("annotator", "")), _source(row), _weight(row),
            _consent(row), _scores(row, len(texts)),
            str(row.get("skill", "")), ident, _meta(row), preference,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "prompt": [m.to_json() for m in self.prompt],
            "responses": list(self.responses),
            "ranking": [list(group) for group in self.ranking],
            "annotator": self.annotator,
            "source": self.source,
            "weight": self.weight,
            "consent": self.consent,
            "scores": list(self.scores),
            "skill": self.skill,
            "meta": self.meta,
            **({} if self.preference is None else {"preference": self.preference}),
        }

    def pairs(self) -> list[tuple[int, int]]:
        """(better, worse) for every pair that is not tied, best first."""
        return [
            (better, worse)
            for rank, group in enumerate(self.ranking)
            for better in group
            for lower in self.ranking[rank + 1 :]
            for worse in lower
        ]

    def labelled_pairs(self) -> list[tuple[int, int, float]]:
        """(better, worse, probability that this is their order): `pairs` at 1, or the one pair of a soft label.

        A soft label of 1/2 is a pair too: it says that the two are equal, which a tie leaves open.
        """
        if self.preference is None:
            return [(better, worse, 1.0) for better, worse in self.pairs()]
        return [(0, 1, self.preference) if self.preference >= 0.5 else (1, 0, 1.0 - self.preference)]


def ranking_of(preference: float) -> tuple[tuple[int, ...], ...]:
    """The ranking of two responses of which the first is better with probability `preference`."""
    if preference == 0.5:
        return ((0, 1),)
    return ((0,), (1,)) if preference > 0.5 else ((1,), (0,))


def _preference(row: Mapping[str, Any], count: int) -> float | None:
    preference = row.get("preference")
    if preference is None:
        return None
    if isinstance(preference, bool) or not isinstance(preference, int | float) or not 0 <= preference <= 1:
        raise InputError(f"the preference {preference!r} must be a probability from 0 to 1")
    if count != 2:
        raise InputError(f"a preference is of two responses, not of {count}; give a ranking instead")
    return float(preference)


def _scores(row: Mapping[str, Any], count: int) -> tuple[dict[str, float], ...]:
    """Marks by name for each response, or () where the annotator gave none."""
    scores = row.get("scores") or ()
    if not isinstance(scores, Sequence) or not all(isinstance(one, Mapping) for one in scores):
        raise InputError("scores must be a list with one object for each response")
    if scores and len(scores) != count:
        raise InputError(f"scores must hold one object for each of the {count} responses, not {len(scores)}")
    for name, mark in (item for one in scores for item in one.items()):
        if isinstance(mark, bool) or not isinstance(mark, int | float) or not math.isfinite(mark):
            raise InputError(f"the score {name} must be a number, not {mark!r}")
    return tuple({str(name): float(mark) for name, mark in one.items()} for one in scores)


def _ranking(row: Mapping[str, Any], count: int) -> tuple[tuple[int, ...], ...]:
    if (ranking := row.get("ranking")) is not None:
        if not isinstance(ranking, Sequence):
            raise InputError(f"the ranking must be a list of response indexes, best first, not {ranking!r}")
        groups = tuple(tuple(g) if isinstance(g, Sequence) else (g,) for g in ranking)
    elif "preferred" in row:
        best = row["preferred"]
        rest = tuple(i for i in range(count) if i != best)
        groups = (tuple(range(count)),) if best is None else ((best,), rest)
    else:
        raise InputError("a comparison needs a ranking (indexes, best first) or a preferred index")
    flat = [index for group in groups for index in group]
    if any(not isinstance(i, int) or isinstance(i, bool) or not 0 <= i < count for i in flat):
        raise InputError(f"the ranking names responses {flat}, but only 0 to {count - 1} exist")
    if sorted(flat) != list(range(count)):
        raise InputError(f"the ranking {flat} must name each of the {count} responses exactly once")
    return groups


@dataclass(frozen=True, slots=True)
class Rating:
    """What one person said of one exchange: a thumb, reason tags and free words."""

    exchange: str
    value: Literal[-1, 0, 1]
    tags: tuple[str, ...] = ()
    text: str = ""
    annotator: str = ""
    source: Source = "human"
    consent: bool = False
    id: str = ""
    meta: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> Rating:
        exchange, value, tags = row.get("exchange"), row.get("value"), row.get("tags") or ()
        if not isinstance(exchange, str) or not exchange:
            raise InputError("a rating needs an exchange, the id of what it is about")
        if isinstance(value, bool) or value not in (-1, 0, 1):
            raise InputError(f"the value {value!r} of a rating must be -1, 0 or 1")
        if isinstance(tags, str) or not isinstance(tags, Sequence) or not all(isinstance(tag, str) for tag in tags):
            raise InputError("the tags of a rating must be a list of texts")
        return Rating(
            exchange, value, tuple(tags), _whole(str(row.get("text") or "")), str(row.get("annotator") or ""),
            _source(row), _consent({"consent": row.get("consent", False)}), str(row.get("id") or ""), _meta(row),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id, "exchange": self.exchange, "value": self.value, "tags": list(self.tags), "text": self.text,
            "annotator": self.annotator, "source": self.source, "consent": self.consent, "meta": self.meta,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Exchange:
    """One answered prompt, with everything needed to replay and judge it."""

    id: str
    prompt: Messages
    response: str
    version: str
    sampling: dict[str, Any] = field(default_factory=dict)
    finish_reason: str = "stop"
    verdicts: tuple[dict[str, Any], ...] = ()
    seconds: float = 0.0
    source: Source = "human"
