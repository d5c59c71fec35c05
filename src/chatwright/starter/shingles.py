"""Word 5-grams, their Jaccard similarity, and a guard that keeps clean documents apart."""

from __future__ import annotations

import re
import zlib
from collections import Counter, defaultdict

SIZE = 5
_SAMPLE = 4  # one 5-gram in four is indexed


def shingles(text: str) -> set[int]:
    """Hashes of the word 5-grams of the lower-cased text (of all its words together where it is shorter)."""
    found = re.findall(r"\w+", text.lower())
    return {zlib.crc32(" ".join(found[i : i + SIZE]).encode()) for i in range(max(1, len(found) - SIZE + 1))}


def jaccard(one: set[int], two: set[int]) -> float:
    return len(one & two) / len(one | two) if one | two else 1.0


class Apart:
    """Admits a text only when no admitted one is nearly the same."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._texts: list[str] = []
        self._index: dict[int, list[int]] = defaultdict(list)

    def admit(self, text: str) -> bool:
        """Whether `text` is new; if so it is remembered. Candidates come from sampled 5-grams, the verdict from all."""
        mine = shingles(text)
        sampled = [s for s in mine if s % _SAMPLE == 0] or sorted(mine)[:1]
        shared = Counter(i for s in sampled for i in self._index.get(s, ()))
        for other, count in shared.items():
            if count >= 0.4 * len(sampled) and jaccard(mine, shingles(self._texts[other])) >= self._limit:
                return False
        for s in sampled:
            self._index[s].append(len(self._texts))
        self._texts.append(text)
        return True
