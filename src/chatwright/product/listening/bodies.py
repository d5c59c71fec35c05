"""What can be said of an answer, with a bound on everything."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from chatwright.engine.protocol.body import StrictBody
from chatwright.product.chats.bodies import Text

BLAME = ("wrong", "unsafe", "refused", "instructions", "long", "style", "other")
"""Why an answer is bad: not true, harmful, refused without need, did not do what was asked, too long, its manner."""
PRAISE = ("correct", "helpful", "clear", "creative", "instructions", "other")
LONGEST_WORDS = 4_000
Choice = Literal["left", "right", "tie", "both_bad"]


def _tags(allowed: tuple[str, ...]) -> AfterValidator:
    def check(tags: list[str]) -> list[str]:
        for tag in tags:
            if tag not in allowed:
                raise ValueError(f"there is no tag {tag[:40]!r}; use {', '.join(allowed)}")
        return sorted(set(tags))

    return AfterValidator(check)


Tags = Annotated[list[str], Field(max_length=20)]
Words = Annotated[Text, Field(max_length=LONGEST_WORDS)]


class RatingBody(StrictBody):
    """0 takes a rating back."""

    value: Annotated[int, Field(ge=-1, le=1)]
    tags: Tags = Field(default_factory=list)
    text: Words = ""


class FlagBody(StrictBody):
    """`covers` is what the person lets the operator read: this message, or the conversation above it too."""

    reason: Literal["unsafe", "illegal", "privacy", "hate", "self_harm", "sexual", "spam", "other"]
    text: Words = ""
    covers: Literal["message", "conversation"] = "message"


class SignalBody(StrictBody):
    """What only a page can know; the rest the server notes by itself."""

    kind: Literal["copied", "abandoned"]


class SettleBody(StrictBody):
    choice: Choice
    tags: Annotated[Tags, _tags(tuple(dict.fromkeys((*PRAISE, *BLAME))))] = Field(default_factory=list)
    text: Words = ""
