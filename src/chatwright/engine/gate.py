"""May a model be served with rounded weights? Measured on text that it writes itself, each time it is loaded.

The model in float32 writes some answers; both versions then read them, and the divergence of their distributions at
every position decides. So no text need be at hand, and what is compared is what people will be shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from chatwright.engine.native.runner import NativeRunner, Weights
from chatwright.engine.runner import Runner, Segment
from chatwright.engine.sampling import uniforms
from chatwright.model.decoder import Decoder

ANSWER_TOKENS = 48
BOUND = 0.02
"""Nats. A divergence of 0.02 moves the probability of a likely token by a tenth at most on average (Pinsker)."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """Of rounded weights from float32, over `tokens` positions: KL in nats, and the share of equal first choices."""

    weights: Weights
    tokens: int
    kl: float
    same_first: float

    @property
    def passes(self) -> bool:
        return self.kl <= BOUND

    def __str__(self) -> str:
        return (
            f"{self.weights} weights: KL to fp32 {self.kl:.4f} nats over {self.tokens} tokens of its own text "
            f"(bound {BOUND}), the same first choice in {100 * self.same_first:.1f} %"
        )


def divergence(model: Decoder, weights: Weights, prompts: Sequence[Sequence[int]], *, threads: int) -> Divergence:
    """Reads each prompt and ANSWER_TOKENS that the float32 model draws after it (temperature 1, fixed seeds)."""
    room = min(model.shape.context, max(map(len, prompts)) + ANSWER_TOKENS)
    exact = NativeRunner(model, len(prompts), room, threads=threads)
    texts = [list(prompt)[: room - 1] for prompt in prompts]
    starts = [len(text) for text in texts]
    texts, references = _written(exact, texts, room)
    rounded = NativeRunner(model, len(prompts), room, weights=weights, threads=threads)
    kl: list[float] = []
    same: list[bool] = []
    for step, reference in enumerate(references):
        begun = [0 if step == 0 else start + step - 1 for start in starts]
        ends = [start + step for start in starts]
        segments = [Segment(i, b, texts[i][b:e]) for i, (b, e) in enumerate(zip(begun, ends, strict=True))]
        got = torch.log_softmax(rounded.forward(segments).double(), -1)
        kl += (reference.exp() * (reference - got)).sum(-1).tolist()
        same += (reference.argmax(-1) == got.argmax(-1)).tolist()
    return Divergence(weights, len(kl), float(np.mean(kl)), float(np.mean(same)))


def _written(runner: Runner, texts: list[list[int]], room: int) -> tuple[list[list[int]], list[Tensor]]:
    """The texts continued, and before each new token the log-probabilities it was drawn from, texts x V in float64."""
    numbers = [uniforms(seed, ANSWER_TOKENS) for seed in range(len(texts))]
    references: list[Tensor] = []
    begun = [0] * len(texts)
    for step in range(min(ANSWER_TOKENS, room - max(map(len, texts)))):
        segments = [Segment(i, b, text[b:]) for i, (b, text) in enumerate(zip(begun, texts, strict=True))]
        references.append(torch.log_softmax(runner.forward(segments).double(), -1))
        begun = [len(text) for text in texts]
        cumulative = references[-1].exp().cumsum(-1)
        for i, text in enumerate(texts):
            drawn = int(torch.searchsorted(cumulative[i], numbers[i][step]))
            text.append(min(drawn, cumulative.shape[1] - 1))
    return texts, references
