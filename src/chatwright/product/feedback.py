"""POST /v1/feedback: what somebody says of an answer that this server gave.

Not part of OpenAI's API, which has nothing like it. A rating becomes a `records.Rating`; an answer that is preferred to
the one named becomes a `records.Comparison`, for which the text of both must have been stored.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request
from pydantic import BaseModel, Field

from chatwright.engine.openapi import described
from chatwright.engine.protocol import ApiError, parse_json
from chatwright.engine.protocol.body import StrictBody, checked
from chatwright.engine.protocol.errors import invalid
from chatwright.engine.protocol.messages import Turn, messages_of
from chatwright.product.identity import owners_of, person_of
from chatwright.records import Comparison, Messages, Rating
from chatwright.store import Answer, Answers, Feedback, Person
from chatwright.store.answers import now

MOST_TAGS = 20
LONGEST_TEXT = 10_000
Find = Callable[[str], Answer | None]
Tag = Annotated[str, Field(min_length=1, max_length=64)]


class Preferred(StrictBody):
    """The better answer: a text, or a choice of this or another completion of the same prompt."""

    completion_id: str | None = Field(None, max_length=120)
    choice: int = Field(0, ge=0, le=1_000)
    text: str | None = Field(None, max_length=100_000)


class FeedbackBody(StrictBody):
    completion_id: str = Field(min_length=1, max_length=120)
    choice: int = Field(0, ge=0, le=1_000)
    rating: Literal["up", "down"] | Annotated[float, Field(ge=-1, le=1)] | None = None
    tags: list[Tag] | None = Field(None, max_length=MOST_TAGS)
    text: str | None = Field(None, max_length=LONGEST_TEXT)
    preferred: Preferred | None = None
    annotator: str | None = Field(None, max_length=200)
    consent: bool = False
    """Whether this may be used for training; off unless somebody says so."""


class FeedbackAnswer(BaseModel):
    id: str
    object: Literal["feedback"]
    created: int
    completion_id: str
    model: str
    model_version: str
    records: list[Literal["rating", "comparison"]]
    consent: bool


@dataclass(frozen=True, slots=True)
class Said:
    """A record and its kind."""

    kind: Literal["rating", "comparison"]
    row: dict[str, Any]


def add_feedback(app: FastAPI, answers: Answers) -> None:
    @app.post("/v1/feedback", **described(FeedbackAnswer, FeedbackBody))
    async def feedback(request: Request) -> dict[str, Any]:
        body = checked(FeedbackBody, parse_json(await request.body()), {})
        return await asyncio.to_thread(take, answers, body, now(), person_of(request))


def take(answers: Answers, body: FeedbackBody, at: datetime, person: Person) -> dict[str, Any]:
    """Enters what was said; raises ApiError where the answer was not given to this person, or nothing was said."""
    about = answers.get(body.completion_id, owners=owners_of(person))
    if about is None:
        raise ApiError(
            404, f"this server gave no answer {body.completion_id!r}; feedback is taken on its own answers only",
            "completion_not_found", "completion_id",
        )  # fmt: skip
    if body.choice >= about.sampling.get("n", 1):
        raise invalid("choice", f"the answer has {about.sampling.get('n', 1)} choices, counted from 0")
    said = records_of(body, about, lambda ident: answers.get(ident, owners=owners_of(person)))
    if not said:
        raise invalid("rating", "say something: a rating, tags, a text or a preferred answer")
    ident = f"fb-{secrets.token_hex(12)}"
    answers.say([
        Feedback(
            ident if index == 0 else f"{ident}-{index}", about.id, one.kind, about.version, at, about.prompt_hash,
            about.sampling, body.consent, one.row, person.id,
        )
        for index, one in enumerate(said)
    ])  # fmt: skip
    return {
        "id": ident, "object": "feedback", "created": int(at.timestamp()), "completion_id": about.id,
        "model": about.model, "model_version": about.version, "records": [one.kind for one in said],
        "consent": body.consent,
    }  # fmt: skip


def records_of(body: FeedbackBody, about: Answer, find: Find) -> list[Said]:
    said: list[Said] = []
    if body.rating is not None or body.tags or body.text:
        score = {"up": 1.0, "down": -1.0, None: 0.0}.get(body.rating, body.rating)  # type: ignore[arg-type]
        assert isinstance(score, int | float)
        value: Literal[-1, 0, 1] = 0 if score == 0 else 1 if math.copysign(1, score) > 0 else -1
        exchange = f"{about.id}#{body.choice}" if body.choice else about.id
        rating = Rating(
            exchange, value, tuple(body.tags or ()), body.text or "", body.annotator or "", consent=body.consent
        )
        said.append(Said("rating", asdict(rating) | {"score": float(score)}))
    if body.preferred is not None:
        said.append(Said("comparison", _comparison(body, body.preferred, about, find).to_json()))
    return said


def _comparison(body: FeedbackBody, preferred: Preferred, about: Answer, find: Find) -> Comparison:
    worse = _text_of(about, body.choice, "completion_id")
    prompt = _prompt_of(about)
    if preferred.text is not None:
        better, source = preferred.text, "text"
    else:
        other = find(preferred.completion_id or about.id)
        if other is None:
            raise ApiError(404, f"this server gave no answer {preferred.completion_id!r}", "completion_not_found",
                           "preferred.completion_id")  # fmt: skip
        if other.prompt_hash != about.prompt_hash:
            raise invalid("preferred.completion_id", "it answers another prompt, so the two cannot be compared")
        if other.id == about.id and preferred.choice == body.choice:
            raise invalid("preferred", "an answer cannot be preferred to itself")
        better, source = _text_of(other, preferred.choice, "preferred.completion_id"), f"{other.id}#{preferred.choice}"
    meta = {"better": source, "worse": f"{about.id}#{body.choice}", "version": about.version, "tags": body.tags or []}
    return Comparison.from_json(
        {
            "prompt": [message.to_json() for message in prompt], "responses": [better, worse], "ranking": [0, 1],
            "annotator": body.annotator or "", "consent": body.consent, "meta": meta,
        }
    )  # fmt: skip


def _content(about: Answer, param: str) -> Mapping[str, Any]:
    if about.content is None:
        raise ApiError(
            409, f"the text of {about.id} was not stored, so it cannot be compared; ask with store: true", "not_stored",
            param,
        )  # fmt: skip
    return about.content


def _text_of(about: Answer, choice: int, param: str) -> str:
    content = _content(about, param)
    if about.kind == "response":
        return str(content["said"])
    choices = content["answer"].get("choices") or []
    if choice >= len(choices):
        raise invalid("preferred.choice", f"the answer has {len(choices)} choices, counted from 0")
    one = choices[choice]
    return str(one.get("text") if "text" in one else one["message"].get("content") or "")


def _prompt_of(about: Answer) -> Messages:
    content = _content(about, "completion_id")
    if about.kind == "text_completion":
        raise invalid("completion_id", "only answers in a conversation can be compared")
    turns = content["messages"] if about.kind == "response" else content["request"]["messages"]
    return messages_of([Turn.model_validate(turn) for turn in turns])
