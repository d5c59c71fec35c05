"""One exercise of a skill: the conversation that asks, and the pieces of which every style of answer is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chatwright.records import Message, Messages


@dataclass(frozen=True, slots=True)
class Case:
    """`full` answers in whole sentences, `extra` adds something useful, `bare` is the answer as a fragment."""

    skill: str
    key: str  # the composition that the split is decided on
    turns: Messages  # ends with the user's question
    truth: dict[str, Any]
    full: str
    extra: str
    bare: str
    wrong: str
    preachy: str = ""  # refusals only: the long lecture


def user(text: str) -> Message:
    return Message("user", text)


def assistant(text: str) -> Message:
    return Message("assistant", text)
