"""Which runner computes for an engine."""

from __future__ import annotations

from chatwright.engine.runner import Runner
from chatwright.engine.torch_runner import TorchRunner
from chatwright.model.decoder import Decoder


def choose_runner(model: Decoder, slots: int, context: int) -> Runner:
    """The fastest runner that can compute this model where it lies."""
    return TorchRunner(model, slots, context)
