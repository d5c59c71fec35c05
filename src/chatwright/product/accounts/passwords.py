"""Passwords: argon2id (RFC 9106, its second recommended setting), away from the event loop, a few at a time."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from chatwright.engine.protocol import ApiError
from chatwright.engine.protocol.errors import invalid

SHORTEST, LONGEST = 10, 500
AT_ONCE = 2
"""Hashes computed at once: each takes 64 MiB and four lanes."""
MOST_WAITING = 32
T = TypeVar("T")


class Passwords:
    """Makes and checks hashes. Who is unknown takes as long as who is wrong: a hash is checked for both."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self.hasher = hasher or PasswordHasher()
        self._nobodys = self.hasher.hash("nobody has this password")
        self._pool = ThreadPoolExecutor(AT_ONCE, "passwords")
        self._waiting = 0

    async def hash(self, password: str) -> str:
        return await self._run(lambda: self.hasher.hash(folded(password)))

    async def verify(self, kept: str | None, password: str) -> bool:
        """Whether this is the password of which `kept` is the hash; never where there is none."""
        right = await self._run(lambda: self._is(kept or self._nobodys, password))
        return right and kept is not None

    def outdated(self, kept: str) -> bool:
        """Whether a hash was made with settings that are not today's."""
        return self.hasher.check_needs_rehash(kept)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _is(self, kept: str, password: str) -> bool:
        try:
            return self.hasher.verify(kept, folded(password))
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= MOST_WAITING:
            raise ApiError(
                429, "too many people are signing in at this moment; try again in a few seconds", "busy",
                headers={"Retry-After": "5"},
            )  # fmt: skip
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1


def folded(password: str) -> str:
    """The same password, typed on another system, may come in other code points (NIST SP 800-63B, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def check_password(password: str, *about: str) -> None:
    """Raises ApiError(400) for one that is too easy: short, few characters over and over, or the person's own data."""
    if len(password) < SHORTEST:
        raise invalid("password", f"use at least {SHORTEST} characters; several words together are easy to remember")
    if len(password) > LONGEST:
        raise invalid("password", f"use at most {LONGEST} characters")
    if len(set(password)) < 4:
        raise invalid("password", "use more than a few different characters")
    if folded(password).casefold() in {folded(text).casefold() for text in about}:
        raise invalid("password", "use something else than your name or address")
