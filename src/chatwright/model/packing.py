"""Many sequences in few rows, each seeing only itself.

A packed batch holds whole sequences side by side; positions restart in each and the attention mask keeps them apart, so
every sequence gets the hidden states it would get alone (tested). Answers to one prompt may stand behind a single copy
of it: each sees the prompt and itself, and the prompt is read once. Axes: B rows, T positions, N packed sequences.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from chatwright.model.decoder import Decoder, Trunk, causal_mask


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids and, for each, its weight in the loss as a prediction target (0 = given, not predicted)."""

    tokens: Sequence[int] | np.ndarray
    weights: Sequence[float] | np.ndarray


@dataclass(frozen=True, slots=True)
class Packed:
    """A packed batch. `targets` and `weights` at t speak of the token at t + 1 of the same sequence.

    Sequence i of the examples given to `pack` lies in row `rows[i]` from `starts[i]` for `lengths[i]` positions; where
    a beginning is shared, that is what comes behind it. `documents` says which sequence a position belongs to,
    `openings` which shared beginning it sees besides (None: nothing is shared).
    """

    tokens: Tensor
    targets: Tensor
    weights: Tensor
    positions: Tensor
    documents: Tensor
    rows: Tensor
    starts: Tensor
    lengths: Tensor
    openings: Tensor | None = None

    def to(self, device: str) -> Packed:
        if device == "cpu":
            return self
        tensors = {name: getattr(self, name) for name in self.__slots__}
        return Packed(**{name: t.to(device) for name, t in tensors.items() if t is not None})

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        """Row and column of the last token of each sequence."""
        return self.rows, self.starts + self.lengths - 1


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Best-fit-decreasing bin packing: indexes per row, no row above `capacity`.

    Longest first, each into the fullest row it still fits (Johnson 1973: at most 11/9 of the optimum, plus one).
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    rows: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (room left, row), sorted
    for index in order:
        length = lengths[index]
        if length > capacity:
            raise ValueError(f"a sequence of {length} tokens does not fit into rows of {capacity}")
        at = bisect_left(free, (length, -1))
        if at == len(free):
            rows.append([])
            room, row = capacity, len(rows) - 1
        else:
            room, row = free.pop(at)
        rows[row].append(index)
        if room > length:
            insort(free, (room - length, row))
    return rows


ATTENTION = 1500
"""Tokens in a row at which attention would cost as much as all else. Estimated from one profile of 5.5 million
parameters on two cores (rows of 256: 0.2 of 1.3 s); only the choice of a width hangs on it."""

WIDTHS = 8
"""How many widths are tried for the rows of a batch."""


def cheapest_rows(lengths: Sequence[int], most: int) -> list[list[int]]:
    """`best_fit` with the capacity that costs least: room for the longest sequence at least, `most` tokens if it can.

    Wide rows waste work on attention between sequences, which is masked away; narrow ones on padding.
    """
    longest = max(lengths, default=1)
    widths = sorted({*np.linspace(longest, max(longest, most), WIDTHS, dtype=int).tolist()})
    return min((best_fit(lengths, width) for width in widths), key=lambda rows: _cost(lengths, rows))


def _cost(lengths: Sequence[int], rows: Sequence[Sequence[int]]) -> float:
    width = _width(lengths, rows)
    return len(rows) * width * (1 + width / ATTENTION)


def _width(lengths: Sequence[int], rows: Sequence[Sequence[int]]) -> int:
    return max((sum(lengths[i] for i in row) for row in rows), default=1)


@dataclass(frozen=True, slots=True)
class _Bundle:
    """Sequences that begin with the same `shared` tokens, which stand in the row once, before them."""

    members: tuple[int, ...]
    shared: int
    length: int


def pack(examples: Sequence[Example], rows: Sequence[Sequence[int]], width: int | None = None) -> Packed:
    """The batch whose row r holds `examples[i]` for i in `rows[r]`, in that order."""
    bundles = [[_Bundle((i,), 0, len(examples[i].tokens)) for i in row] for row in rows]
    return _lay(examples, bundles, width or max(sum(b.length for b in row) for row in bundles))


def pack_groups(examples: Sequence[Example], groups: Sequence[Sequence[int]], most: int) -> Packed:
    """All examples in rows of up to `most` tokens; the beginning that the examples of a group share is laid once.

    Every example belongs to one group. For the sake of a shared beginning a row may be twice as wide; a group that is
    longer still is parted.
    """
    bundles = [b for group in groups for b in _bundles(examples, group, 2 * most)]
    rows = cheapest_rows([b.length for b in bundles], most)
    laid = [[bundles[i] for i in row] for row in rows]
    return _lay(examples, laid, max(sum(b.length for b in row) for row in laid))


def _bundles(examples: Sequence[Example], group: Sequence[int], most: int) -> Iterator[_Bundle]:
    shared = _common(examples, group)
    members: list[int] = []
    length = shared
    for index in group:
        own = len(examples[index].tokens) - shared
        if members and length + own > most:
            yield _Bundle(tuple(members), shared, length)
            members, length = [], shared
        members.append(index)
        length += own
    yield _Bundle(tuple(members), shared, length)


def _common(examples: Sequence[Example], group: Sequence[int]) -> int:
    """How many tokens all of `group` begin with, short of the one that predicts the first token with a weight."""
    if len(group) < 2:
        return 0
    first = np.asarray(examples[group[0]].tokens)
    shared = len(first)
    for index in group:
        tokens = np.asarray(examples[index].tokens)
        n = min(shared, len(tokens) - 1)
        different = np.flatnonzero(first[:n] != tokens[:n])
        weighted = np.flatnonzero(np.asarray(examples[index].weights))
        shared = min((n, *different[:1].tolist(), *(weighted[:1] - 1).tolist()))
    return max(0, shared)


def _lay(examples: Sequence[Example], rows: Sequence[Sequence[_Bundle]], width: int) -> Packed:
    """Rows of bundles as arrays. A shared beginning is a document of its own, numbered behind the examples."""
    shape = (len(rows), width)
    tokens, targets = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    weights, positions = np.zeros(shape, np.float32), np.zeros(shape, np.int64)
    documents, openings = np.full(shape, -1, np.int64), np.full(shape, -1, np.int64)
    places = np.zeros((3, len(examples)), np.int64)
    opening = len(examples)
    for r, row in enumerate(rows):
        start = 0
        for bundle in row:
            shared = bundle.shared
            if shared:
                span = slice(start, start + shared)
                tokens[r, span] = examples[bundle.members[0]].tokens[:shared]
                positions[r, span] = np.arange(shared)
                documents[r, span] = openings[r, span] = opening
                start += shared
            for index in bundle.members:
                example, n = examples[index], len(examples[index].tokens) - shared
                span = slice(start, start + n)
                tokens[r, span] = example.tokens[shared:]
                targets[r, start : start + n - 1] = example.tokens[shared + 1 :]
                weights[r, start : start + n - 1] = example.weights[shared + 1 :]
                positions[r, span] = np.arange(shared, shared + n)
                documents[r, span] = index
                openings[r, span] = opening if shared else index
                places[:, index] = r, start, n
                start += n
            opening += bool(shared)
        # Padding looks at itself only: a row of nothing would give NaN.
        positions[r, start:] = np.arange(width - start)
    arrays = (tokens, targets, weights, positions, documents, *places)
    sharing = torch.from_numpy(openings) if opening > len(examples) else None
    return Packed(*(torch.from_numpy(a) for a in arrays), openings=sharing)


def passes(examples: Sequence[Example], width: int, micro_tokens: int) -> Iterator[tuple[list[int], Packed]]:
    """All examples in few forward passes of about `micro_tokens`: (indexes in packed order, batch) each.

    Rows have up to `width` tokens. Flattened over its weighted positions, a batch lists the examples in the order of
    the indexes.
    """
    lengths = [len(e.tokens) for e in examples]
    rows = cheapest_rows(lengths, width)
    per_pass = max(1, micro_tokens // _width(lengths, rows))
    for at in range(0, len(rows), per_pass):
        group = rows[at : at + per_pass]
        order = [i for row in group for i in row]
        yield order, pack_rows([[examples[i] for i in row] for row in group])


def pack_rows(rows: Sequence[Sequence[Example]], width: int | None = None) -> Packed:
    """`pack` for rows that are given as examples instead of indexes."""
    flat = [example for row in rows for example in row]
    first = 0
    local = []
    for row in rows:
        local.append(range(first, first + len(row)))
        first += len(row)
    return pack(flat, local, width)


def hidden_states(trunk: Trunk, batch: Packed, dtype: torch.dtype = torch.float32) -> Tensor:
    """Hidden states B T D of a packed batch."""
    mask = causal_mask(
        batch.positions, batch.positions, trunk.shape.sliding_window, batch.documents, batch.documents, batch.openings
    )
    return trunk(batch.tokens, batch.positions, mask, dtype=dtype)


def predicted(model: Decoder, batch: Packed, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """(hidden N D, targets N, weights N) at the positions whose weight is not 0."""
    hidden = hidden_states(model.model, batch, dtype)
    chosen = batch.weights != 0
    return hidden[chosen], batch.targets[chosen], batch.weights[chosen]


def deal(rows: int, per_step: int, step: int, seed: int) -> np.ndarray:
    """Which rows step `step` trains on: epochs of seeded permutations, each row once per epoch.

    A pure function of its arguments, so a resumed run sees the same order without any stored cursor.
    """
    return deal_from(rows, step * per_step, per_step, seed)


def deal_from(rows: int, first: int, count: int, seed: int) -> np.ndarray:
    """As `deal`: the rows `first` to `first + count - 1` of the endless sequence of epochs."""
    indexes = np.arange(first, first + count)
    out = np.empty(count, np.int64)
    for epoch in np.unique(indexes // rows):
        order = np.random.Generator(np.random.Philox(key=seed + (int(epoch) << 32))).permutation(rows)
        here = indexes // rows == epoch
        out[here] = order[indexes[here] % rows]
    return out
