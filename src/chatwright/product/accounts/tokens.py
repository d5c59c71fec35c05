"""Secrets that are shown once: a session's cookie, a link, an API key. The database holds only hashes of them.

They are random and long, so a fast hash is enough: there is nothing to guess (unlike a password).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

LONGEST = 200
"""Characters of anything that is looked at as a secret."""
_KEY = re.compile(r"cw-([0-9a-f]{16})\.([A-Za-z0-9_-]{20,100})")


@dataclass(frozen=True, slots=True)
class NewKey:
    """`shown` is cw-PREFIX.SECRET."""

    prefix: str
    hash: str
    shown: str


def new_token() -> str:
    """256 random bits in 43 characters that need no escaping in a URL."""
    return secrets.token_urlsafe(32)


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def new_key() -> NewKey:
    prefix, secret = secrets.token_hex(8), new_token()
    return NewKey(prefix, hash_of(secret), f"cw-{prefix}.{secret}")


def split_key(text: str) -> tuple[str, str] | None:
    """The prefix and the secret of a key; None where this is no key of ours, which is then looked up nowhere."""
    found = _KEY.fullmatch(text) if len(text) <= LONGEST else None
    return None if found is None else (found[1], found[2])


def same(one: str, other: str) -> bool:
    """Whether two hashes are equal, in a time that does not tell how much of them is."""
    return hmac.compare_digest(one.encode(), other.encode())
