"""Which turns get two answers, whose, and on which side each stands. Pure.

The draw is a function of the turn and of a secret: the same turn sent twice gets the same, and who makes up the names
of turns cannot make up the draw.
"""

from __future__ import annotations

import hashlib
import hmac
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

How = Literal["version", "sample"]


@dataclass(frozen=True, slots=True)
class Pair:
    """The ids of the versions that answer, as they stand on the page."""

    left: str
    right: str

    @property
    def how(self) -> How:
        return "sample" if self.left == self.right else "version"


def pair(secret: str, chat: str, turn: str, rate: float, current: str, others: Sequence[str]) -> Pair | None:
    """Two versions for this turn, with probability `rate`; otherwise None.

    One is `current`, the other any of `others` alike, `current` itself among them where another sample of it will do.
    """
    digest = hmac.new(secret.encode(), f"{chat}/{turn}".encode(), hashlib.sha256).digest()
    draw = random.Random(digest)
    if draw.random() >= rate or not others:
        return None
    other = draw.choice(others)
    return Pair(other, current) if draw.random() < 0.5 else Pair(current, other)
