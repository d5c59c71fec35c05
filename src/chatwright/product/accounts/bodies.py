"""The bodies that the routes of accounts take."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from chatwright.engine.protocol.body import StrictBody
from chatwright.product.chats.bodies import Text

LONGEST_EMAIL = 254
"""RFC 5321, 4.5.3.1.3, less its brackets."""


def _email(text: str) -> str:
    text = text.strip().lower()
    if not re.fullmatch(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,189}", text):
        raise ValueError("write an e-mail address, as name@example.org")
    return text


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    if not text or not text.isprintable():
        raise ValueError("write a name in ordinary characters, on one line")
    return text


Email = Annotated[Text, Field(max_length=LONGEST_EMAIL + 20), AfterValidator(_email)]
PersonName = Annotated[Text, Field(max_length=100), AfterValidator(_one_line)]
Password = Annotated[Text, Field(max_length=1_000)]
Token = Annotated[Text, Field(max_length=200)]
Limit = Annotated[int, Field(ge=0, le=1_000_000_000)]
Scope = Literal["chat", "files", "feedback", "api", "operator"]


class Credentials(StrictBody):
    email: Annotated[Text, Field(max_length=1_000)]
    password: Password


class NewAccount(StrictBody):
    name: PersonName
    email: Email
    password: Password


class Setup(NewAccount):
    token: Token


class Joining(StrictBody):
    """An invitation asks for all three, or for the address it was not made for; a new password alone is enough."""

    name: PersonName | None = None
    email: Email | None = None
    password: Password


class NewPassword(StrictBody):
    old: Password
    new: Password


class SettingsChange(StrictBody):
    """`training` is no setting: see /api/me/consent, which keeps when it was said."""

    model_config = ConfigDict(strict=True, extra="forbid")
    language: Literal["", "en", "es", "fr", "de", "zh", "ar"] = ""
    theme: Literal["auto", "light", "dark"] = "auto"
    instructions: Annotated[Text, Field(max_length=20_000)] = ""
    about: Annotated[Text, Field(max_length=20_000)] = ""
    memory: bool = False
    remote_images: Literal["ask", "never"] = "ask"


class MeChange(StrictBody):
    name: PersonName | None = None
    settings: SettingsChange | None = None


class KeyLimits(StrictBody):
    model_config = ConfigDict(strict=True, extra="forbid")
    requests_per_minute: Limit | None = None
    tokens_per_minute: Limit | None = None
    streams: Limit | None = None


class NewKeyBody(StrictBody):
    name: PersonName
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=5)]
    expires_days: Annotated[int, Field(ge=1, le=3_650)] | None = None
    limits: KeyLimits | None = None
