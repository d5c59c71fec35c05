"""Engines over small random models, and requests for them."""

from __future__ import annotations

from typing import Any

from tests.model.small import random_decoder, random_tokens, tiny_tokenizer

from chatwright.engine import Request, SamplingParams
from chatwright.engine.core import Engine
from chatwright.engine.request import Step
from chatwright.model.chat import NativeTemplate
from chatwright.model.decoder import Decoder

TOKENIZER = tiny_tokenizer()
TEMPLATE = NativeTemplate(TOKENIZER)


def wide_decoder(seed: int = 0, scale: float = 0.25, **changes: Any) -> Decoder:
    """With heads as wide as compiled code needs them."""
    return random_decoder(seed, scale, **{"head_width": 16, **changes})


def make_engine(
    seed: int = 0, *, max_batch: int = 4, scale: float = 0.25, chunk: int | None = None, **changes: Any
) -> Engine:
    model = wide_decoder(seed, scale, **changes)
    return Engine(model, TOKENIZER, TEMPLATE, max_batch=max_batch, chunk=chunk)


def make_requests(count: int, *, max_tokens: int = 14, **sampling: Any) -> list[Request]:
    return [
        Request(tuple(random_tokens(3 + 5 * i % 17, i)), SamplingParams(max_tokens=max_tokens, seed=i, **sampling))
        for i in range(count)
    ]


def drain(engine: Engine) -> dict[int, list[Step]]:
    steps: dict[int, list[Step]] = {}
    while engine.busy:
        for step in engine.step():
            steps.setdefault(step.handle, []).append(step)
    return steps
