"""Drawing tokens in compiled code: what `chatwright.engine.sampling.draw` means, some forty times sooner."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from chatwright.engine.native import build


class NativeDraw:
    """Draws for a batch whose parameters stay the same from token to token.

    Columns B: temperature, top_p and min_p become float32, top_k int64. `uniform` (float64) is written anew by the
    caller before each call, and the results are valid until the next.
    """

    def __init__(
        self, vocab: int, temperature_B: np.ndarray, top_k_B: np.ndarray, top_p_B: np.ndarray, min_p_B: np.ndarray
    ) -> None:
        rows = len(temperature_B)
        self._draw, self._rows, self._vocab = build.compiled().draw, rows, vocab
        self.uniform = np.zeros(rows)
        self.tokens, self.logprobs, self.plain = (
            np.empty(rows, np.int64),
            np.empty(rows, np.float32),
            np.empty(rows, np.float32),
        )
        wanted = ((temperature_B, np.float32), (top_k_B, np.int64), (top_p_B, np.float32), (min_p_B, np.float32))
        self._columns = [np.ascontiguousarray(column, dtype) for column, dtype in wanted]
        self._candidates = np.empty(2 * vocab, np.int32)
        results = (self.tokens, self.logprobs, self.plain, self._candidates)
        self._addresses = [column.ctypes.data for column in (*self._columns, self.uniform, *results)]

    def __call__(self, logits_BV: Tensor) -> tuple[list[int], list[float], list[float]]:
        """(tokens, log-probabilities before the cuts, log-probabilities at temperature 1), each B."""
        if logits_BV.dtype != torch.float32 or not logits_BV.is_contiguous():
            logits_BV = logits_BV.float().contiguous()
        if logits_BV.shape != (self._rows, self._vocab):
            raise ValueError(f"logits of shape {tuple(logits_BV.shape)} for {self._rows} rows of {self._vocab}")
        self._draw(self._rows, self._vocab, logits_BV.data_ptr(), *self._addresses)
        return self.tokens.tolist(), self.logprobs.tolist(), self.plain.tolist()
