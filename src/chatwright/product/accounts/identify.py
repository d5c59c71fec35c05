"""People mode: a cookie or a key, wherever it stands in a request, becomes the person whose it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError
from starlette.types import Scope

from chatwright.engine.protocol import ApiError
from chatwright.errors import ChatwrightError
from chatwright.product.accounts.cookies import Cookie
from chatwright.product.accounts.tokens import hash_of, same, split_key
from chatwright.product.identity import Who, key_in
from chatwright.store import Store
from chatwright.store.keys import USED_EVERY

MOST_CREDENTIALS = 4
"""In one request."""
WRONG = ApiError(401, "the API key is not right", "invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
MIXED = ApiError(
    401, "this request carries the credentials of different people; send one", "invalid_api_key",
    headers={"WWW-Authenticate": "Bearer"},
)  # fmt: skip


class PeopleIdentify:
    """Where several credentials are sent, all must be right and belong to one person, who then may what all allow.

    A cookie alone that is not valid any more is nobody's: a browser sends it whether its page wants to or not.
    """

    def __init__(
        self, store: Store, cookie: Cookie, idle: timedelta, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store, self._cookie, self._idle, self._clock = store, cookie, idle, clock

    async def __call__(self, scope: Scope) -> Who:
        address = str((scope.get("client") or ("",))[0])
        keys = [key for name, value in scope["headers"] if (key := key_in(name, value)) is not None]
        tokens = self._cookie.values(scope["headers"])
        if not keys and not tokens:
            return Who(address=address)
        if len(keys) + len(tokens) > MOST_CREDENTIALS:
            raise ApiError(400, "this request carries too many credentials; send one", "invalid_value")
        try:
            return replace(await asyncio.to_thread(self._find, keys, tokens), address=address)
        except (ChatwrightError, SQLAlchemyError):
            raise ApiError(503, "accounts cannot be looked up right now; try again", "accounts_unavailable") from None

    def _find(self, keys: list[bytes], tokens: list[str]) -> Who:
        now = self._clock()
        found = [self._by_token(token, now) for token in tokens]
        if not keys:
            return self._one(found) if None not in found else Who()
        both = [*found, *(self._by_key(key, now) for key in keys)]
        if None in both:
            raise WRONG
        return self._one(both)

    def _one(self, found: list[Who | None]) -> Who:
        first, *others = [who for who in found if who is not None]
        for other in others:
            if other.person is None or first.person is None or other.person.id != first.person.id:
                raise MIXED
            scopes = _both(first.scopes, other.scopes)
            first = replace(
                first, scopes=scopes, session=first.session or other.session, key=other.key or first.key,
                key_limits={**first.key_limits, **other.key_limits},
            )  # fmt: skip
        return first

    def _by_token(self, token: str, now: datetime) -> Who | None:
        ident = hash_of(token)
        person = self._store.sessions.find(ident, now, self._idle) if token else None
        return None if person is None else Who(person, session=ident)

    def _by_key(self, raw: bytes, now: datetime) -> Who | None:
        parts = split_key(raw.decode("latin-1"))
        found = self._store.keys.find(parts[0], now) if parts is not None else None
        if parts is None or found is None:
            return None
        key, person = found
        if not same(hash_of(parts[1]), key.hash):
            return None
        if key.used is None or now - key.used >= USED_EVERY:
            self._store.keys.use(key.id, now)
        return Who(person, scopes=key.scopes, key=key.id, key_limits=key.limits)


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    """What two credentials together allow; None allows everything."""
    if one is None or other is None:
        return other if one is None else one
    return one & other
