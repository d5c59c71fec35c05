"""The key-value cache: one row per running sequence, so that sequences of any length decode in one batch."""

from __future__ import annotations

import torch
from torch import Tensor

from chatwright.model.shape import Shape


class KVCache:
    """Keys and values of every layer, rows x kv heads x positions x head width, allocated once.

    A caller chooses with `select` which rows the next forward pass reads and writes, and at which position each
    token stands; the decoder then calls `extend` once per layer. Keys past a row's own length hold what earlier
    tenants left and must be masked out by the caller.
    """

    def __init__(self, shape: Shape, rows: int, context: int, dtype: torch.dtype, device: torch.device) -> None:
        size = (shape.layers, rows, shape.kv_heads, context, shape.head_width)
        self.keys = torch.zeros(size, dtype=dtype, device=device)
        self.values = torch.zeros(size, dtype=dtype, device=device)
        self.context = context
        self._rows: Tensor | slice = slice(None)
        self._where: tuple[Tensor | slice, slice, Tensor] | None = None
        self._numbers = torch.arange(rows, device=device)[:, None]
        self._seen = 0

    def select(self, rows: Tensor | slice, positions_BT: Tensor, seen: int) -> None:
        """The next pass reads and writes `rows`, writes at `positions_BT` and looks at the first `seen` positions.

        A slice of rows is looked at in place; a tensor of rows costs a copy of their keys and values in every layer.
        """
        self._rows, self._seen = rows, seen
        # An index pair around a slice puts the indexed axes first: B T G W.
        self._where = (self._numbers[rows], slice(None), positions_BT)

    def extend(self, layer: int, keys_BGTW: Tensor, values_BGTW: Tensor) -> tuple[Tensor, Tensor]:
        """Stores the new keys and values; returns those of positions 0..seen-1, B G S W."""
        keys, values = self.keys[layer], self.values[layer]
        assert self._where is not None, "select() comes before a pass"
        keys[self._where] = keys_BGTW.transpose(1, 2).to(keys.dtype)
        values[self._where] = values_BGTW.transpose(1, 2).to(values.dtype)
        return keys[self._rows, :, : self._seen], values[self._rows, :, : self._seen]

    def copy(self, source: int, target: int, length: int) -> None:
        """Gives row `target` the first `length` positions of row `source`."""
        for held in (self.keys, self.values):
            held[:, target, :, :length] = held[:, source, :, :length]

    def swap(self, one: int, other: int, length: int) -> None:
        """Two rows change places, in their first `length` positions."""
        for held in (self.keys, self.values):
            kept = held[:, one, :, :length].clone()
            held[:, one, :, :length] = held[:, other, :, :length]
            held[:, other, :, :length] = kept
