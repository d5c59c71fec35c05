"""One request on its way through the engine, and the parameters of those that draw together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from chatwright.engine.lookup import Lookup
from chatwright.engine.native.draw import NativeDraw
from chatwright.engine.request import Request, Step
from chatwright.engine.sampling import COLDEST, alternatives, draw, model_logprobs
from chatwright.engine.shaping import Shaper
from chatwright.engine.stream import TextStream
from chatwright.errors import CheckpointError

LARGEST_CUT = (1 << 31) - 1
"""Of top_k, which people may set to any number; compiled code reads 32 bits."""


@dataclass(slots=True, eq=False)
class Row:
    """A request that waits or runs. `tokens` are its prompt and answer so far, of which the slot holds `computed`.

    While `source` is not None, the row waits until that slot holds the `cached` tokens that both begin with. `guesses`
    are read after the last token in the pass that is under way.
    """

    handle: int
    request: Request
    tokens: list[int]
    uniforms: np.ndarray
    stream: TextStream | None
    shaper: Shaper | None
    watched: bool
    slot: int = -1
    computed: int = 0
    cached: int = 0
    source: int | None = None
    drawn: int = 0
    ended: bool = False
    lookup: Lookup | None = None
    guesses: list[int] = field(default_factory=list)

    @property
    def pending(self) -> int:
        """Tokens to be read before the next can be drawn: 1 while the answer grows."""
        return len(self.tokens) - self.computed


@dataclass(frozen=True, slots=True)
class Drawn:
    """A token for each row, with its log-probabilities as `Step` defines them."""

    tokens: list[int]
    logprobs: list[float]
    model_logprobs: list[float]
    alternatives: list[tuple[tuple[int, float], ...]]


class Columns:
    """The sampling parameters of a batch as arrays, made once for as long as the same rows draw together.

    A row that stands there several times draws as many tokens, each as if those before it were its own. With
    `compiled`, the size of the vocabulary, compiled code draws.
    """

    def __init__(self, rows: Sequence[Row], device: torch.device, compiled: int) -> None:
        self.rows = list(rows)
        sampling = [r.request.sampling for r in rows]
        self._temperature = np.array([s.temperature for s in sampling], np.float32)
        self._top_k = np.array([min(s.top_k, LARGEST_CUT) for s in sampling], np.int64)
        self._top_p = np.array([s.top_p for s in sampling], np.float32)
        self._min_p = np.array([s.min_p for s in sampling], np.float32)
        columns = (self._temperature, self._top_k, self._top_p, self._min_p)
        self._native = NativeDraw(compiled, *columns) if compiled else None
        self._uniform = self._native.uniform if self._native else np.empty(len(rows))
        self._ahead = [0] * len(rows)
        for at in range(1, len(rows)):
            self._ahead[at] = self._ahead[at - 1] + 1 if rows[at] is rows[at - 1] else 0
        self._tensors = [torch.from_numpy(column).to(device) for column in columns]
        self._shapers = [(row, shaper) for row, r in enumerate(rows) if (shaper := r.shaper) is not None]
        self._asking = [(row, r.request.alternatives) for row, r in enumerate(rows) if r.request.alternatives]
        own = (s.temperature == 1.0 or s.temperature < COLDEST for s in sampling)
        self._untouched = not self._shapers and all(own)
        self._nothing: list[tuple[tuple[int, float], ...]] = [()] * len(rows)

    def draw(self, logits_BV: Tensor) -> Drawn:
        """The next token of each row. Raises CheckpointError where the logits are no numbers."""
        for row, r in enumerate(self.rows):
            self._uniform[row] = r.uniforms[r.drawn + self._ahead[row]]
        shaped = logits_BV
        if self._shapers:
            shaped = logits_BV.clone()
            for row, shaper in self._shapers:
                shaper.apply(shaped[row])
        tokens, logprobs, own = self._native(shaped) if self._native else self._plain(shaped)
        for row, _ in self._shapers:  # only theirs: what a row gives must not depend on who draws beside it
            token = torch.tensor(tokens[row : row + 1], device=logits_BV.device)
            own[row] = model_logprobs(logits_BV[row : row + 1], token).item()
        if math.isnan(sum(own)):
            raise CheckpointError(
                "the model's logits are no numbers (NaN or infinite): its weights are damaged, or its training diverged"
            )
        others = self._nothing
        if self._asking:
            others = list(others)
            for row, count in self._asking:
                best = alternatives(logits_BV[row], count)
                others[row] = tuple((t, own[row] if t == tokens[row] else logprob) for t, logprob in best)
        return Drawn(tokens, logprobs, own, others)

    def _plain(self, logits_BV: Tensor) -> tuple[list[int], list[float], list[float]]:
        temperature, top_k, top_p, min_p = self._tensors
        uniform = torch.from_numpy(self._uniform).to(logits_BV.device)
        cut = min_p if self._min_p.any() else None
        tokens, logprobs = draw(logits_BV, temperature, top_k, top_p, uniform, cut)
        plain = logprobs.tolist()
        own = plain if self._untouched else model_logprobs(logits_BV, tokens).tolist()
        return tokens.tolist(), plain, own


def cancelled(row: Row) -> Step:
    """The last step of a request that was taken out; it holds no token."""
    return Step(row.handle, "", row.tokens[-1], 0.0, "cancelled", cached=row.cached)
