"""Which runner computes for an engine."""

from __future__ import annotations

import functools
import logging

import torch

from chatwright.engine.native.build import NoCompiler
from chatwright.engine.native.runner import NativeRunner, Weights, suits
from chatwright.engine.runner import Runner
from chatwright.engine.torch_runner import TorchRunner
from chatwright.model.decoder import Decoder

log = logging.getLogger(__name__)


def choose_runner(model: Decoder, slots: int, context: int, weights: Weights = "fp32", threads: int = 0) -> Runner:
    """The fastest runner that can compute this model where it lies: compiled code on a CPU, else PyTorch.

    `weights` are those of the compiled runner; PyTorch computes in float32. Without `threads` it takes as many as torch
    has been given.
    """
    if model.head.device.type == "cpu" and suits(model.shape):
        try:
            return NativeRunner(model, slots, context, weights=weights, threads=threads or torch.get_num_threads())
        except NoCompiler as error:
            _say(f"answering with PyTorch in float32, several times slower than need be: {error}")
    return TorchRunner(model, slots, context)


@functools.cache
def _say(sentence: str) -> None:
    """Once in a process."""
    log.warning(sentence)
