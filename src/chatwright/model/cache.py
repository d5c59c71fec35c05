"""The key-value cache: one slot per running sequence, so that sequences of any length decode in one batch."""

from __future__ import annotations

import torch
from torch import Tensor

from chatwright.model.shape import Shape


class KVCache:
    """Keys and values of every layer, slots x kv heads x positions x head width, allocated once.

    A caller chooses with `select` which slots the next forward pass reads and writes, and at which position each row
    begins; the decoder then calls `extend` once per layer. Keys past a row's own length hold what earlier tenants
    left and must be masked out by the caller.
    """

    def __init__(self, shape: Shape, slots: int, context: int, dtype: torch.dtype, device: torch.device) -> None:
        size = (shape.layers, slots, shape.kv_heads, context, shape.head_width)
        self.keys = torch.zeros(size, dtype=dtype, device=device)
        self.values = torch.zeros(size, dtype=dtype, device=device)
        self.context = context
        self._slots: Tensor | slice = slice(None)
        self._positions: Tensor | None = None
        self._seen = 0

    def select(self, slots: Tensor | slice, positions_BT: Tensor, seen: int) -> None:
        """Rows of the next pass live in `slots`, write at `positions_BT` and look at the first `seen` positions."""
        self._slots, self._positions, self._seen = slots, positions_BT, seen

    def extend(self, layer: int, keys_BGTW: Tensor, values_BGTW: Tensor) -> tuple[Tensor, Tensor]:
        """Stores the new keys and values; returns those of positions 0..seen-1, B G S W."""
        keys, values = self.keys[layer], self.values[layer]
        assert self._positions is not None, "select() comes before a pass"
        slots, positions = self._slots, self._positions
        rows = torch.arange(keys.shape[0], device=keys.device)[slots] if isinstance(slots, slice) else slots
        # An index pair around a slice puts the indexed axes first: B T G W.
        keys[rows[:, None], :, positions] = keys_BGTW.transpose(1, 2).to(keys.dtype)
        values[rows[:, None], :, positions] = values_BGTW.transpose(1, 2).to(values.dtype)
        return keys[slots, :, : self._seen], values[slots, :, : self._seen]
