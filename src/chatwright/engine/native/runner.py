"""The engine's runner in compiled code: any mixture of prompts and single tokens in one pass over packed weights.

What a sequence gives does not depend, in any bit, on what shares its passes, how its prompt was cut, whether a prefix
was reused or how many threads work (matrix.h says why).
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from chatwright.engine.native import build
from chatwright.engine.runner import Segment
from chatwright.model.decoder import Attention, Block, Decoder, rotation
from chatwright.model.shape import Shape

Weights = Literal["fp32", "bf16", "int8"]
FORMATS: dict[Weights, int] = {"fp32": 0, "bf16": 1, "int8": 2}
(INPUT_NORM, POST_NORM, Q_NORM, K_NORM, BIAS, QKV, OUT, GATE_UP, DOWN, EMBEDDING, FINAL_NORM, ROPE, HEAD) = range(13)
MOST_ROWS = 256
"""Tokens in one pass of the C code; longer work is cut. What they need beside the cache stays in the second cache."""


def suits(shape: Shape) -> bool:
    """Whether the C code can compute this shape: heads are read sixteen numbers at a time."""
    return shape.head_width % 16 == 0


class NativeRunner:
    """Runs a decoder on the CPU with weights in `weights`; fp32 is the training arithmetic, int8 the fastest.

    Raises build.NoCompiler where the code cannot be built.
    """

    def __init__(
        self,
        model: Decoder,
        slots: int,
        context: int,
        *,
        weights: Weights = "fp32",
        threads: int = 1,
        library: ctypes.CDLL | None = None,
    ) -> None:
        self.shape, self.slots, self.context, self.weights = model.shape, slots, context, weights
        self.device = torch.device("cpu")
        self._library = library or build.library()
        shape = build.Shape(
            model.shape.vocab_size, model.shape.layers, model.shape.width, model.shape.heads, model.shape.kv_heads,
            model.shape.head_width, model.shape.mlp_width, slots, context, model.shape.sliding_window or 0,
            model.shape.qkv_bias, model.shape.qk_norm, FORMATS[weights], threads, MOST_ROWS, model.shape.norm_eps,
        )  # fmt: skip
        self._model = ctypes.c_void_p(self._library.model_new(ctypes.byref(shape)))
        self._free = weakref.finalize(self, self._library.model_free, self._model)
        self._logits = torch.empty(0, model.shape.vocab_size)
        self.load(model)

    @property
    def threads(self) -> int:
        """Threads that compute, this one included."""
        return self._library.model_threads(self._model)

    @torch.no_grad()
    def load(self, model: Decoder) -> None:
        trunk = model.model
        self._set(EMBEDDING, 0, trunk.embed_tokens.weight)
        self._set(FINAL_NORM, 0, trunk.norm.weight)
        self._set(HEAD, 0, model.head)
        positions = torch.arange(self.context)[None]
        cos, sin = rotation(positions, trunk.frequencies.cpu(), trunk.rope_factor, torch.float32)
        half = self.shape.head_width // 2
        self._set(ROPE, 0, torch.cat((cos[0, :, 0, :half], sin[0, :, 0, :half]), dim=-1))
        for index, block in enumerate(trunk.layers):
            assert isinstance(block, Block)
            attention = block.self_attn
            self._set(INPUT_NORM, index, block.input_layernorm.weight)
            self._set(POST_NORM, index, block.post_attention_layernorm.weight)
            self._set_attention(index, attention)
            self._set(OUT, index, attention.o_proj.weight)
            self._set(GATE_UP, index, torch.cat((block.mlp.gate_proj.weight, block.mlp.up_proj.weight)))
            self._set(DOWN, index, block.mlp.down_proj.weight)

    def _set_attention(self, index: int, attention: Attention) -> None:
        three = (attention.q_proj, attention.k_proj, attention.v_proj)
        self._set(QKV, index, torch.cat([linear.weight for linear in three]))
        if self.shape.qkv_bias:
            self._set(BIAS, index, torch.cat([linear.bias for linear in three]))
        if self.shape.qk_norm:
            self._set(Q_NORM, index, attention.q_norm.weight)
            self._set(K_NORM, index, attention.k_norm.weight)

    def _set(self, name: int, index: int, tensor: Tensor) -> None:
        whole = tensor.detach().to("cpu", torch.float32).contiguous()
        self._library.model_set(self._model, name, index, whole.data_ptr())

    def forward(self, segments: Sequence[Segment]) -> Tensor:
        wanted = [segment.logits for segment in segments]
        if len(self._logits) < len(segments):
            self._logits = torch.empty(len(segments), self.shape.vocab_size)
        self._run(segments, self._logits, None)
        return self._logits[: sum(wanted)]

    def hidden(self, segments: Sequence[Segment]) -> Tensor:
        states = torch.empty(sum(len(s.tokens) for s in segments), self.shape.width)
        self._run(segments, None, states)
        return states

    def copy(self, source: int, target: int, length: int) -> None:
        self._library.model_copy(self._model, source, target, length)

    def _run(self, segments: Sequence[Segment], logits: Tensor | None, states: Tensor | None) -> None:
        lengths = [len(segment.tokens) for segment in segments]
        tokens = np.fromiter((token for segment in segments for token in segment.tokens), np.int32, sum(lengths))
        slots = np.repeat(np.fromiter((s.slot for s in segments), np.int32, len(segments)), lengths)
        ends = np.cumsum(lengths, dtype=np.int32)
        starts = (
            np.fromiter((s.start for s in segments), np.int32, len(segments)) - ends + np.asarray(lengths, np.int32)
        )
        positions = np.repeat(starts, lengths) + np.arange(len(tokens), dtype=np.int32)
        wanted = ends[[s.logits for s in segments]] - 1 if logits is not None else ends[:0]
        written = 0
        for first in range(0, len(tokens), MOST_ROWS):
            rows = min(MOST_ROWS, len(tokens) - first)
            here = np.ascontiguousarray(wanted[(wanted >= first) & (wanted < first + rows)] - first, dtype=np.int32)
            self._library.model_forward(
                self._model, rows, tokens[first:].ctypes.data, slots[first:].ctypes.data,
                positions[first:].ctypes.data, len(here), here.ctypes.data,
                logits[written:].data_ptr() if logits is not None else None,
                states[first:].data_ptr() if states is not None else None,
            )  # fmt: skip
            written += len(here)
