"""Exact and near duplicates: a hash of the words, and MinHash with locality-sensitive hashing (LSH).

Documents are compared as sets of word 5-grams. 112 minimum hashes in 14 bands of 8 make two documents of Jaccard
similarity s candidates with probability 1 - (1 - s^8)^14 (Broder 1997; the setting of FineWeb): 0.77 at 0.75, 0.92 at
0.8, 0.99 at 0.87. Candidates are verified by their true similarity, so a dropped document is never a chance hit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from chatwright.text.words import compared_words

NGRAM = 5
BANDS, ROWS = 14, 8
BATCH_WORDS = 16_384
"""Words hashed at once: large enough for numpy, small enough that 112 hashes of each (15 MB) stay near the caches."""

Hashes = NDArray[np.uint64]


def fingerprint(text: str) -> bytes:
    """Equal for texts of equal words, whatever their case, spacing and punctuation; 16 bytes.

    A text without words (symbols of some kind) is known by its characters.
    """
    return hashlib.blake2b("\x1f".join(compared_words(text) or text.split()).encode(), digest_size=16).digest()


def jaccard(one: Hashes, other: Hashes) -> float:
    """Size of the intersection over size of the union of two sets, given as sorted unique arrays."""
    shared = np.intersect1d(one, other, assume_unique=True).size
    return shared / (one.size + other.size - shared)


@dataclass(frozen=True, slots=True)
class Duplicate:
    """`index` belongs to the group whose first document is `first`; `similarity` is theirs."""

    index: int
    first: int
    similarity: float


class NearDuplicates:
    """Takes texts one by one, then tells which ones repeat an earlier one.

    Memory per document: 112 bytes of band keys and 8 bytes per word, about as much as the text itself.
    """

    def __init__(self, threshold: float = 0.75) -> None:
        self.threshold = threshold
        self._word_hashes: dict[str, int] = {}
        self._pending: list[list[int]] = []
        self._pending_words = 0
        self._ngrams: list[Hashes] = []
        self._keys: list[Hashes] = []

    def add(self, text: str) -> None:
        hashes = self._hash_words(compared_words(text))
        # A text shorter than one n-gram becomes a single one, filled up with a word that no text holds.
        self._pending.append(hashes + [0] * (NGRAM - len(hashes)))
        self._pending_words += len(hashes)
        if self._pending_words >= BATCH_WORDS:
            self._flush()

    def groups(self) -> list[Duplicate]:
        """Every document that is not the first of its group, in order; groups are closed under similarity."""
        self._flush()
        count = len(self._ngrams)
        sets: dict[int, Hashes] = {}
        parent = list(range(count))
        for i, j in self._candidates():
            one, other = _root(parent, i), _root(parent, j)
            if one != other and self._similarity(i, j, sets) >= self.threshold:
                parent[max(one, other)] = min(one, other)
        roots = ((index, _root(parent, index)) for index in range(count))
        return [Duplicate(i, first, self._similarity(first, i, sets)) for i, first in roots if i != first]

    def _hash_words(self, words: list[str]) -> list[int]:
        known = self._word_hashes
        try:
            return [known[word] for word in words]
        except KeyError:
            for word in words:
                if word not in known:
                    known[word] = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little") | 1
            return [known[word] for word in words]

    def _flush(self) -> None:
        if not self._pending:
            return
        lengths = np.array([len(words) for words in self._pending])
        flat = np.array([word for words in self._pending for word in words], np.uint64)
        weighted = np.stack([np.roll(flat, -k) * _POWERS[k] for k in range(NGRAM)])
        ngrams = _mix(weighted.sum(axis=0, dtype=np.uint64))
        ends = np.cumsum(lengths)
        starts = ends - lengths
        inside = np.ones(flat.size, bool)  # the last four positions of a text would reach into the next
        for k in range(1, NGRAM):
            inside[ends - k] = False
        ngrams, lengths = ngrams[inside], lengths - NGRAM + 1
        starts = np.cumsum(lengths) - lengths
        self._ngrams += np.split(ngrams, starts[1:])
        self._keys.append(_band_keys(ngrams, starts))
        self._pending, self._pending_words = [], 0

    def _similarity(self, i: int, j: int, sets: dict[int, Hashes]) -> float:
        for index in (i, j):
            if index not in sets:
                sets[index] = np.unique(self._ngrams[index])
        return jaccard(sets[i], sets[j])

    def _candidates(self) -> Iterator[tuple[int, int]]:
        """Pairs that share a band key; in a crowd each is paired with the first and its neighbours only."""
        if not self._keys:
            return
        keys = np.concatenate(self._keys)
        edges = np.unique(np.concatenate([_edges(keys[:, band]) for band in range(BANDS)]), axis=0)
        yield from edges.tolist()


CROWD = 64
"""Documents under one key above which pairing all with all would cost more than it could find."""


def _edges(keys: Hashes) -> NDArray[np.int64]:
    """Pairs (i < j) of positions with equal keys, one a row."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    bounds = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))
    pairs = [np.empty((0, 2), np.int64)]
    for start, end in pairwise(bounds.tolist()):
        size = end - start
        if size < 2:
            continue
        members = order[start:end]
        if size <= CROWD:
            one, other = np.triu_indices(size, 1)
        else:
            rest = np.arange(1, size)
            one, other = np.concatenate([np.zeros(size - 1, np.int64), rest - 1]), np.concatenate([rest, rest])
        pairs.append(np.stack([members[one], members[other]], axis=1))
    return np.concatenate(pairs)


def _root(parent: list[int], index: int) -> int:
    while parent[index] != index:
        parent[index] = index = parent[parent[index]]
    return index


def _mix(values: Hashes) -> Hashes:
    """splitmix64's finaliser: every input bit reaches every output bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _stream(count: int, start: int) -> Hashes:
    """`count` fixed odd 64-bit numbers: constants of the hash family, equal on every machine and in every release."""
    return _mix(np.arange(start, start + count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) | np.uint64(1)


_POWERS = _stream(NGRAM, 1)
_MULTIPLIERS = _stream(BANDS * ROWS, 1_000)
_OFFSETS = _stream(BANDS * ROWS, 2_000)
_BAND_POWERS = _stream(ROWS, 3_000)


def _band_keys(ngrams: Hashes, starts: NDArray[np.int64]) -> Hashes:
    """(documents, 14): one key per band, from the minimum of each of 112 hashes (the upper half of a*x + b)."""
    keys = np.empty((starts.size, BANDS), np.uint64)
    for band in range(BANDS):
        rows = slice(band * ROWS, (band + 1) * ROWS)
        hashed = (_MULTIPLIERS[rows, None] * ngrams + _OFFSETS[rows, None]) >> np.uint64(32)
        minima = np.minimum.reduceat(hashed, starts, axis=1)  # (8, documents)
        keys[:, band] = _mix((minima * _BAND_POWERS[:, None]).sum(axis=0, dtype=np.uint64))
    return keys
