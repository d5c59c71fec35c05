"""The bodies that the routes of chats take, with a bound on everything."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from chatwright.engine.protocol.body import StrictBody

LONGEST_TITLE, LONGEST_SYSTEM, LONGEST_TEXT, LONGEST_MEMORY = 200, 20_000, 200_000, 1_000
MOST_FILES, MOST_MODELS = 10, 8


def _storable(text: str) -> str:
    """No database text holds NUL, and no file half a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half a character (a lone surrogate)") from None
    if "\0" in text:
        raise ValueError("it holds a NUL character")
    return text


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", text):
        raise ValueError("use letters, digits, - and _")
    return text


Text = Annotated[str, AfterValidator(_storable)]
Name = Annotated[str, AfterValidator(_name)]
Title = Annotated[Text, Field(max_length=LONGEST_TITLE)]
ModelName = Annotated[Text, Field(max_length=200)]


class Attachment(StrictBody):
    name: Annotated[Text, Field(min_length=1, max_length=200)]
    text: Annotated[Text, Field(max_length=LONGEST_TEXT)]


class NewChat(StrictBody):
    title: Title = ""
    model: ModelName = ""
    system: Annotated[Text, Field(max_length=LONGEST_SYSTEM)] = ""
    temporary: bool = False


class ChatChange(StrictBody):
    title: Title | None = None
    model: ModelName | None = None
    system: Annotated[Text, Field(max_length=LONGEST_SYSTEM)] | None = None
    pinned: bool | None = None
    archived: bool | None = None
    leaf: Name | None = None
    training: bool | None = None


class Turn(StrictBody):
    """`id` is the page's own name for this turn: the same again, after a lost answer, is no second turn."""

    id: Name
    parent: Name | None = None
    text: Annotated[Text, Field(max_length=LONGEST_TEXT)] = ""
    attachments: Annotated[list[Attachment], Field(max_length=MOST_FILES)] = Field(default_factory=list)
    model: ModelName = ""
    models: Annotated[list[ModelName], Field(max_length=MOST_MODELS)] = Field(default_factory=list)


class Again(StrictBody):
    """Another answer to the same question, or the rest of one that broke off."""

    id: Name
    model: ModelName = ""


class Stop(StrictBody):
    seen: Annotated[int, Field(ge=0, le=10_000_000)]


class NewShare(StrictBody):
    leaf: Name | None = None


class MemoryText(StrictBody):
    text: Annotated[Text, Field(min_length=1, max_length=LONGEST_MEMORY)]
    chat: Name | None = None
