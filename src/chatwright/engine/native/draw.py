"""Drawing tokens in compiled code: what `chatwright.engine.sampling.draw` means, some forty times sooner."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from chatwright.engine.native import build


class NativeDraw:
    """Draws rows of logits that lie in memory one after another; reuses its space from call to call."""

    def __init__(self, vocab: int) -> None:
        self._library, self._vocab = build.library(), vocab
        self._candidates = np.empty(2 * vocab, np.int32)

    def __call__(
        self, logits_BV: Tensor, temperature_B: np.ndarray, top_k_B: np.ndarray, top_p_B: np.ndarray,
        min_p_B: np.ndarray, uniform_B: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
        """(tokens, log-probabilities before the cuts, log-probabilities at temperature 1), each B.

        Of float32 logits; temperature, top_p and min_p are float32, top_k int64, uniform float64.
        """
        rows = len(logits_BV)
        assert logits_BV.dtype == torch.float32
        assert logits_BV.is_contiguous()
        assert logits_BV.shape[1] == self._vocab
        for column, dtype in (
            (temperature_B, np.float32), (top_k_B, np.int64), (top_p_B, np.float32), (min_p_B, np.float32),
            (uniform_B, np.float64),
        ):  # fmt: skip
            assert column.dtype == dtype
            assert column.flags.c_contiguous
            assert len(column) == rows
        tokens, logprobs, plain = np.empty(rows, np.int64), np.empty(rows, np.float32), np.empty(rows, np.float32)
        self._library.draw(
            rows, self._vocab, logits_BV.data_ptr(), temperature_B.ctypes.data, top_k_B.ctypes.data,
            top_p_B.ctypes.data, min_p_B.ctypes.data, uniform_B.ctypes.data, tokens.ctypes.data,
            logprobs.ctypes.data, plain.ctypes.data, self._candidates.ctypes.data,
        )  # fmt: skip
        return tokens, logprobs, plain
