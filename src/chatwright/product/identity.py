"""Who is behind a request: a person signed in with a cookie or a key, the one local person, or nobody.

`Identify` is the only place where credentials are read; everything else asks `who_of(request)`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from chatwright.engine.http import error_response
from chatwright.engine.protocol import ApiError
from chatwright.errors import InputError
from chatwright.store.people import ROLES, Forbidden, Person

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Who:
    """Nobody has no person. `scopes` are those of the key that was sent; None where no key was (everything).

    `session` and `key` are the ids of what was sent, `key_limits` those of the key.
    """

    person: Person | None = None
    scopes: frozenset[str] | None = None
    session: str = ""
    address: str = ""
    key: str = ""
    key_limits: Mapping[str, int] = field(default_factory=dict)

    @property
    def groups(self) -> frozenset[str]:
        return frozenset(self.person.groups) if self.person is not None else frozenset()

    def is_at_least(self, role: str) -> bool:
        return self.person is not None and ROLES.index(self.person.role) >= ROLES.index(role)


Identifies = Callable[[Scope], Awaitable[Who]]
"""Finds who is behind a request; raises ApiError where credentials are wrong, rather than taking them for none."""


class Identify:
    """Finds out once a request who is behind it."""

    def __init__(self, app: ASGIApp, identifies: Identifies) -> None:
        self.app, self._identifies = app, identifies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                scope.setdefault("state", {})["who"] = await self._identifies(scope)
            except ApiError as error:
                await error_response(error)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def who_of(request: Request) -> Who:
    return request.state.who


def person_of(request: Request, role: str = "user") -> Person:
    """The person behind a request; raises ApiError: 401 for nobody, 403 where `role` is more than they have."""
    who = who_of(request)
    if who.person is None:
        raise ApiError(401, "sign in first", "not_signed_in", headers={"WWW-Authenticate": "Bearer"})
    if not who.is_at_least(role):
        raise ApiError(403, f"this needs the role {role}", "forbidden")
    return who.person


async def in_store(work: Callable[..., T], *arguments: Any, **more: Any) -> T:
    """What work in the database comes to; a refusal becomes an answer: ApiError 403, or 400 for what cannot be."""
    try:
        return await asyncio.to_thread(work, *arguments, **more)
    except Forbidden as error:
        raise ApiError(403, str(error), "forbidden") from None
    except InputError as error:
        raise ApiError(400, str(error), "invalid_value") from None


def owners_of(person: Person) -> tuple[str | None, ...]:
    """Whose things a person finds: their own; an admin also what nobody owns, from before there were people."""
    return (person.id, None) if person.role == "admin" else (person.id,)


def key_in(name: bytes, value: bytes) -> bytes | None:
    """The key that a header carries; None where it carries none. What is no bearer token is a wrong key."""
    if name == b"x-api-key":
        return value.strip()
    if name != b"authorization":
        return None
    scheme, _, key = value.strip().partition(b" ")
    return key.strip() if scheme.lower() == b"bearer" else b""


def local_only(find: Callable[[], Person]) -> Identifies:
    """An installation without accounts: whoever reaches it is its one person, with what they last chose."""
    known = find()

    async def identify(scope: Scope) -> Who:
        person = await asyncio.to_thread(find) if scope["path"].startswith("/api/") else known
        return Who(person, address=str((scope.get("client") or ("",))[0]))

    return identify
