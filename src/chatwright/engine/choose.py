"""Which runner computes for an engine, and with which weights."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from typing import Literal

import torch

from chatwright.engine.gate import divergence
from chatwright.engine.native import build
from chatwright.engine.native.runner import NativeRunner, Weights, suits
from chatwright.engine.runner import Runner
from chatwright.engine.torch_runner import TorchRunner
from chatwright.errors import InputError
from chatwright.model.decoder import Decoder

Wish = Literal["auto", "fp32", "bf16", "int8"]
log = logging.getLogger(__name__)


def choose_runner(model: Decoder, slots: int, context: int, weights: Weights = "fp32", threads: int = 0) -> Runner:
    """The fastest runner that can compute this model where it lies: compiled code on a CPU, else PyTorch.

    `weights` are those of the compiled runner; PyTorch computes in float32. Without `threads` it takes as many as torch
    has been given.
    """
    if (why := _why_not_native(model)) is None:
        return NativeRunner(model, slots, context, weights=weights, threads=threads or torch.get_num_threads())
    if why:
        _say(f"answering with PyTorch in float32, several times slower than need be: {why}")
    return TorchRunner(model, slots, context)


def choose_weights(model: Decoder, wish: Wish, prompts: Sequence[Sequence[int]]) -> tuple[Weights, str]:
    """`wish`, or for "auto" int8 where the model still writes the same with it, else fp32; and a sentence that says
    what was measured. `prompts` begin the texts it is measured on. Raises InputError for weights that nothing here can
    compute with."""
    if wish == "fp32":
        return "fp32", "weights in fp32"
    if (why := _why_not_native(model)) is not None:
        if wish == "auto":
            return "fp32", "weights in fp32, computed with PyTorch"
        raise InputError(
            f"weights in {wish} need the compiled runner ({why or 'it is for CPUs'}); leave them at auto, or take fp32"
        )
    rounded: Weights = "int8" if wish == "auto" else wish
    found = divergence(model, rounded, prompts, threads=torch.get_num_threads())
    if wish == "auto" and not found.passes:
        return "fp32", f"{found}: too much, so weights stay in fp32"
    return rounded, str(found)


def rollout_weights(dtype: torch.dtype) -> Weights:
    """Of the engine beside a trainer that computes in `dtype`: its own precision, never a quantised one."""
    return "bf16" if dtype == torch.bfloat16 else "fp32"


def _why_not_native(model: Decoder) -> str | None:
    """None where the compiled runner can compute `model`; else the reason, "" where PyTorch is as it should be."""
    if model.head.device.type != "cpu":
        return ""
    if not suits(model.shape):
        return f"heads of width {model.shape.head_width} are no multiple of 16"
    try:
        build.compiled()
    except build.NoCompiler as error:
        return str(error)
    return None


@functools.cache
def _say(sentence: str) -> None:
    """Once in a process."""
    log.warning(sentence)
