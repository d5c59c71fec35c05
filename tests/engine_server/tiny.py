"""A checkpoint that says nonsense quickly."""

from __future__ import annotations

from pathlib import Path

from chatwright.model.checkpoint import save_checkpoint
from chatwright.model.decoder import Decoder, initialise
from chatwright.model.shape import Shape
from chatwright.model.tokenizer import Tokenizer

WORDS = ["the old mill stands by the river and the miller sings", "señor Ñandú 😀 counts 1 2 3 and laughs"] * 20


def write_tiny_checkpoint(folder: Path, *, seed: int, context: int = 96) -> Path:
    tokenizer = Tokenizer.train(WORDS, 400)
    shape = Shape(tokenizer.vocab_size, 2, 32, heads=2, kv_heads=2, head_width=16, mlp_width=64, context=context)
    save_checkpoint(folder, initialise(Decoder(shape), seed), tokenizer)
    return folder
