"""Which compositions are held out, decided by a hash, so that no generator can leak one by accident."""

from __future__ import annotations

import hashlib
import random
from typing import Literal

Split = Literal["train", "heldout"]
HELDOUT_PERCENT = 15


def split_of(key: str) -> Split:
    """The side on which a composition (such as "countries.capital:France") stands, for every seed alike."""
    digest = hashlib.sha256(key.encode()).digest()
    return "heldout" if int.from_bytes(digest[:4], "big") % 100 < HELDOUT_PERCENT else "train"


def generator(seed: int, *labels: str | int) -> random.Random:
    """An independent random stream per (seed, labels); adding one stream never shifts another."""
    text = "/".join(map(str, (seed, *labels)))
    return random.Random(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))
