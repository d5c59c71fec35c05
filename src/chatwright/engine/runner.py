"""What computes for the engine: a model with a key-value cache in slots, one slot a sequence.

The scheduler (`core.py`) decides who is read when; a runner does the arithmetic. There are two: `native.py` (a
compiled one for CPUs) and `torch_runner.py` (plain PyTorch, any device). Tests hold them equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from chatwright.model.decoder import Decoder
from chatwright.model.shape import Shape


@dataclass(frozen=True, slots=True)
class Segment:
    """`tokens` of one sequence to be read next, the first at position `start` of `slot`.

    Positions before `start` are in the slot already. The logits after each of the last `logits` tokens are wanted.
    """

    slot: int
    start: int
    tokens: Sequence[int]
    logits: int = 1


class Runner(Protocol):
    """A pass reads any mixture of segments, at most one a slot: whole prompts, parts of prompts, single tokens."""

    @property
    def shape(self) -> Shape: ...
    @property
    def slots(self) -> int: ...
    @property
    def context(self) -> int: ...
    @property
    def device(self) -> torch.device: ...

    def forward(self, segments: Sequence[Segment]) -> Tensor:
        """Logits, tokens that want them x V, float32 on `device`, in their order; valid until the next call."""
        ...

    def hidden(self, segments: Sequence[Segment]) -> Tensor:
        """Hidden states after the final norm, tokens x D, float32, segment after segment."""
        ...

    def copy(self, source: int, target: int, length: int) -> None:
        """Gives slot `target` the first `length` positions of slot `source`."""
        ...

    def load(self, model: Decoder) -> None:
        """Takes new weights of the same shape; what the cache holds is of the old ones and must be forgotten."""
        ...
