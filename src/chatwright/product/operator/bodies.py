"""What an operator sends, with a bound on everything."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from chatwright.engine.protocol.body import StrictBody
from chatwright.product.accounts.bodies import Email
from chatwright.product.chats.bodies import Text
from chatwright.store.groups import LIMITS

Role = Literal["user", "labeller", "operator", "admin"]


def _plain(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("write one line of visible characters")
    return text.strip()


def _limits(limits: dict[str, int]) -> dict[str, int]:
    if unknown := set(limits) - set(LIMITS):
        raise ValueError(f"{min(unknown)[:40]!r} is no limit; use {', '.join(LIMITS)}")
    return limits


GroupName = Annotated[Text, Field(min_length=1, max_length=80), AfterValidator(_plain)]


class PersonChange(StrictBody):
    role: Role | None = None
    groups: Annotated[list[GroupName], Field(max_length=100)] | None = None
    disabled: bool | None = None


class InvitationBody(StrictBody):
    role: Role = "user"
    groups: Annotated[list[GroupName], Field(max_length=100)] = Field(default_factory=list)
    email: Email | None = None


class GroupBody(StrictBody):
    name: GroupName
    about: Annotated[Text, Field(max_length=1_000)] = ""
    early: bool = False
    limits: Annotated[dict[str, Annotated[int, Field(ge=0, le=1_000_000_000)]], AfterValidator(_limits)] = Field(
        default_factory=dict
    )


class GroupsBody(StrictBody):
    data: Annotated[list[GroupBody], Field(max_length=200)]


class FlagChange(StrictBody):
    state: Literal["open", "resolved"]
    note: Annotated[Text, Field(max_length=4_000)] = ""
