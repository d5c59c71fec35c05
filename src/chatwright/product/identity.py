"""Who is behind a request: a person signed in with a cookie or a key, the one local person, or nobody.

`Identify` is the only place where credentials are read; everything else asks `who_of(request)`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from chatwright.engine.http import error_response
from chatwright.engine.protocol import ApiError
from chatwright.store.people import Person

ROLES = ("user", "labeller", "operator", "admin")
"""Each may do what those before it may, and more."""


@dataclass(frozen=True, slots=True)
class Who:
    """Nobody has no person. `scopes` are those of the key that was sent; None where no key was (everything)."""

    person: Person | None = None
    groups: frozenset[str] = frozenset()
    scopes: frozenset[str] | None = None
    session: str = ""
    address: str = ""

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


def local_only(person: Person) -> Identifies:
    """An installation without accounts: whoever reaches it is its one person."""

    async def identify(scope: Scope) -> Who:
        return Who(person, address=str((scope.get("client") or ("",))[0]))

    return identify
