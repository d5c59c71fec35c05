"""What a model makes of held-out text: loss and bits per byte, over packed batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from chatwright.model.decoder import Decoder
from chatwright.model.logprobs import cross_entropy
from chatwright.model.packing import Example, Packed, passes, predicted


class Corpus(Protocol):
    """Tokenised documents, each beginning with the bos token."""

    @property
    def lengths(self) -> np.ndarray: ...

    def doc(self, number: int, /) -> np.ndarray: ...
    def bytes(self, number: int, /) -> int: ...


def language_loss(dtype: torch.dtype) -> Callable[[Any, Packed], tuple[Tensor, dict[str, float]]]:
    """The summed cross-entropy of a packed batch, in nats, as a loss of the training loop."""

    def loss(model: Decoder, batch: Packed) -> tuple[Tensor, dict[str, float]]:
        hidden, targets, weights = predicted(model, batch, dtype)
        return cross_entropy(hidden, model.head, targets, weights), {}

    return loss


@torch.no_grad()
def bits_per_byte(
    nats: Callable[[Packed], float], corpus: Corpus, context: int, micro_tokens: int, max_tokens: int = 200_000
) -> float | None:
    """-log2 p(text) / bytes of UTF-8 over the first documents of `corpus`, up to `max_tokens` tokens; None without any.

    `nats` gives the summed cross-entropy of a batch. Special tokens are neither predicted nor counted. A document is
    read in windows of `context` tokens that overlap by half, so that every token but the first few has at least half a
    window before it.
    """
    examples: list[Example] = []
    total_bytes = seen = 0
    for index in range(len(corpus.lengths)):
        document = corpus.doc(index).astype(np.int64)
        if seen + len(document) > max_tokens and seen:
            break
        seen += len(document)
        total_bytes += corpus.bytes(index)
        examples += windows(document, context)
    total = sum(nats(batch) for _, batch in passes(examples, context, micro_tokens))
    return total / math.log(2) / total_bytes if total_bytes else None


def windows(document: np.ndarray, context: int) -> list[Example]:
    """Windows of a document in which every token after the first is predicted exactly once."""
    if len(document) <= context:
        return [Example(document, np.r_[0.0, np.ones(len(document) - 1)])]
    made, done = [], 1
    for start in range(0, len(document), context // 2):
        piece = document[start : start + context]
        weights = (np.arange(start, start + len(piece)) >= done).astype(np.float32)
        weights[0] = 0.0
        made.append(Example(piece, weights))
        done = start + len(piece)
        if done == len(document):
            break
    return made
