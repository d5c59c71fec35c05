"""Small models with weights that matter everywhere: nothing is zero, no norm is one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chatwright.model.checkpoint import save_checkpoint
from chatwright.model.decoder import Decoder
from chatwright.model.packing import Example
from chatwright.model.shape import Shape
from chatwright.model.tokenizer import Tokenizer

TEXT = [
    "the old mill stands by the river and the miller sings of flour and of water",
    "señor Ñandú counts 1 2 3 and laughs; the café is closed 😀",
    "What is the capital of the valley? The capital is Brook. I do not know that one.",
    "def double(x): return 2 * x\nprint(double(21))",
] * 10


@cache
def tiny_tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXT, 380)


def tiny_shape(**changes: Any) -> Shape:
    """Grouped queries, two layers, a head width that is not width / heads."""
    given: dict[str, Any] = {
        "vocab_size": tiny_tokenizer().vocab_size, "layers": 2, "width": 24, "heads": 4, "kv_heads": 2,
        "head_width": 8, "mlp_width": 40, "context": 64,
    }  # fmt: skip
    return Shape(**(given | changes))


def scramble(module: torch.nn.Module, seed: int, scale: float = 0.25) -> None:
    """Every weight normal(0, scale), norms around one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(module.named_parameters()):
            noise = torch.randn(weight.shape, generator=generator) * scale
            weight.copy_(1.0 + noise if "norm" in name and weight.ndim == 1 else noise)


def random_decoder(seed: int = 0, scale: float = 0.25, **changes: Any) -> Decoder:
    model = Decoder(tiny_shape(**changes)).eval()
    scramble(model, seed, scale)
    return model


def random_tokens(count: int, seed: int, vocab: int | None = None) -> list[int]:
    return np.random.default_rng(seed).integers(0, vocab or tiny_tokenizer().vocab_size, count).tolist()


def random_examples(lengths: Sequence[int], seed: int) -> list[Example]:
    """Random sequences with random weights, some of them zero."""
    rng = np.random.default_rng(seed)
    made = []
    for number, length in enumerate(lengths):
        weights = rng.choice([0.0, 0.5, 1.0, 2.0], length)
        weights[-1] = 1.0
        made.append(Example(random_tokens(length, seed * 1000 + number), weights.tolist()))
    return made


def write_model(folder: Path, seed: int = 0, **changes: Any) -> Decoder:
    """A whole checkpoint with Chatwright's template; returns the model in it."""
    model = random_decoder(seed, **changes)
    save_checkpoint(folder, model, tiny_tokenizer())
    return model
