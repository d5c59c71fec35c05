"""Many sequences in few rows, each seeing only itself.

A packed batch holds whole sequences side by side; positions restart in each and the attention mask keeps them apart, so
every sequence gets the hidden states it would get alone (tested). Axes: B rows, T positions, N packed sequences.
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

    Sequence i of the examples given to `pack` lies in row `rows[i]` from `starts[i]` for `lengths[i]` positions.
    """

    tokens: Tensor
    targets: Tensor
    weights: Tensor
    positions: Tensor
    documents: Tensor
    rows: Tensor
    starts: Tensor
    lengths: Tensor

    def to(self, device: str) -> Packed:
        if device == "cpu":
            return self
        return Packed(*(getattr(self, name).to(device) for name in self.__slots__))

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


def pack(examples: Sequence[Example], rows: Sequence[Sequence[int]], width: int | None = None) -> Packed:
    """The batch whose row r holds `examples[i]` for i in `rows[r]`, in that order."""
    width = width or max(sum(len(examples[i].tokens) for i in row) for row in rows)
    shape = (len(rows), width)
    tokens, targets = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    weights, positions = np.zeros(shape, np.float32), np.zeros(shape, np.int64)
    documents = np.full(shape, -1, np.int64)
    places = np.zeros((3, len(examples)), np.int64)
    for r, row in enumerate(rows):
        start = 0
        for index in row:
            example, n = examples[index], len(examples[index].tokens)
            span = slice(start, start + n)
            tokens[r, span] = example.tokens
            targets[r, start : start + n - 1] = example.tokens[1:]
            weights[r, start : start + n - 1] = example.weights[1:]
            positions[r, span] = np.arange(n)
            documents[r, span] = index
            places[:, index] = r, start, n
            start += n
        # Padding looks at itself only: a row of nothing would give NaN.
        positions[r, start:] = np.arange(width - start)
    arrays = (tokens, targets, weights, positions, documents, *places)
    return Packed(*(torch.from_numpy(a) for a in arrays))


def passes(examples: Sequence[Example], width: int, micro_tokens: int) -> Iterator[tuple[list[int], Packed]]:
    """All examples in few forward passes of about `micro_tokens`: (indexes in packed order, batch) each.

    Flattened over its weighted positions, a batch lists the examples in the order of the indexes.
    """
    rows = best_fit([len(e.tokens) for e in examples], width)
    per_pass = max(1, micro_tokens // width)
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
    mask = causal_mask(batch.positions, batch.positions, trunk.shape.sliding_window, batch.documents, batch.documents)
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
