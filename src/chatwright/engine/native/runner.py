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

from chatwright.engine.adapters import Adapter, adapted
from chatwright.engine.native import build
from chatwright.engine.runner import Segment
from chatwright.model.decoder import Block, Decoder, rotation
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
        self._library = library or build.compiled()
        shape = build.Shape(
            model.shape.vocab_size, model.shape.layers, model.shape.width, model.shape.heads, model.shape.kv_heads,
            model.shape.head_width, model.shape.mlp_width, slots, context, model.shape.sliding_window or 0,
            model.shape.qkv_bias, model.shape.qk_norm, FORMATS[weights], threads, MOST_ROWS, model.shape.norm_eps,
        )  # fmt: skip
        self._shape = shape
        self._models = {"": self._new(None)}  # by the name of the adapter that is merged into the weights
        self._adapters: dict[str, Adapter] = {}
        self._bound = [""] * slots
        self._base = model
        self._logits = torch.empty(0, model.shape.vocab_size)
        self._space = np.zeros((4, MOST_ROWS), np.int32)
        self._addresses = [column.ctypes.data for column in self._space]
        self.load(model)

    def _new(self, owner: ctypes.c_void_p | None) -> ctypes.c_void_p:
        made = ctypes.c_void_p(self._library.model_new(ctypes.byref(self._shape), owner))
        if not made:
            raise MemoryError(f"there is no memory for a cache of {self.slots} slots of {self.context} tokens")
        # Finalizers run last in, first out: the model that owns the cache is freed after those that use it. At the end
        # of the process the system frees all; a thread may still be computing then.
        weakref.finalize(self, self._library.model_free, made).atexit = False
        return made

    @property
    def threads(self) -> int:
        """Threads that compute, this one included."""
        return self._library.model_threads(self._models[""])

    def load(self, model: Decoder) -> None:
        self._base = model
        for name, packed in self._models.items():
            _pack(self._library, packed, adapted(model, self._adapters[name]) if name else model, self.context)

    def add_adapter(self, name: str, adapter: Adapter) -> None:
        """Packs the weights with this adapter merged in: another copy of the model, and no slower than the model."""
        changed = adapted(self._base, adapter)
        self._models[name] = self._new(self._models[""])
        self._adapters[name] = adapter
        _pack(self._library, self._models[name], changed, self.context)

    def bind(self, slot: int, adapter: str) -> None:
        self._bound[slot] = adapter

    def forward(self, segments: Sequence[Segment]) -> Tensor:
        count = sum(s.logits for s in segments)
        if len(self._logits) < count:
            self._logits = torch.empty(count, self.shape.vocab_size)
        names = {self._bound[s.slot] for s in segments} if self._adapters else {""}
        if names == {""}:
            return self._logits[: self._run("", segments, self._logits, None)]
        made = self._logits[:count]
        wanting = [self._bound[s.slot] for s in segments for _ in range(s.logits)]
        for name in names:
            part = torch.empty(wanting.count(name), self.shape.vocab_size)
            self._run(name, [s for s in segments if self._bound[s.slot] == name], part, None)
            made[[place for place, bound in enumerate(wanting) if bound == name]] = part
        return made

    def hidden(self, segments: Sequence[Segment]) -> Tensor:
        states = [torch.empty(len(s.tokens), self.shape.width) for s in segments]
        for segment, state in zip(segments, states, strict=True):
            self._run(self._bound[segment.slot], [segment], None, state)
        return torch.cat(states)

    def copy(self, source: int, target: int, length: int) -> None:
        self._library.model_copy(self._models[""], source, target, length)

    def _run(self, name: str, segments: Sequence[Segment], logits: Tensor | None, states: Tensor | None) -> int:
        """Passes of at most MOST_ROWS tokens over everything; how many logits were wanted."""
        read = wanted = 0
        rows = Rows()
        for segment in segments:
            begun = 0
            while begun < len(segment.tokens):
                end = min(len(segment.tokens), begun + MOST_ROWS - len(rows.tokens))
                rows.add(segment, begun, end, logits is not None)
                begun = end
                if len(rows.tokens) == MOST_ROWS:
                    self._pass(name, rows, logits, wanted, states, read)
                    read, wanted, rows = read + MOST_ROWS, wanted + len(rows.wanted), Rows()
        if rows.tokens:
            self._pass(name, rows, logits, wanted, states, read)
        return wanted + len(rows.wanted)

    def _pass(
        self, name: str, rows: Rows, logits: Tensor | None, wanted: int, states: Tensor | None, read: int
    ) -> None:
        columns = (rows.tokens, rows.slots, rows.positions, rows.wanted)
        for space, values in zip(self._space, columns, strict=True):
            space[: len(values)] = values
        tokens, slots, positions, of = self._addresses
        self._library.model_forward(
            self._models[name], len(rows.tokens), tokens, slots, positions, len(rows.wanted), of,
            None if logits is None else logits.data_ptr() + 4 * wanted * self.shape.vocab_size,
            None if states is None else states.data_ptr() + 4 * read * self.shape.width,
        )  # fmt: skip


class Rows:
    """One pass, as lists: what is read, where it goes, and after which of it logits are wanted."""

    __slots__ = ("positions", "slots", "tokens", "wanted")

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.slots: list[int] = []
        self.positions: list[int] = []
        self.wanted: list[int] = []

    def add(self, segment: Segment, begun: int, end: int, logits: bool) -> None:
        """The tokens begun..end-1 of a segment."""
        first = segment.start + begun
        self.tokens += segment.tokens[begun:end]
        self.slots += [segment.slot] * (end - begun)
        self.positions += range(first, first + end - begun)
        if logits:
            wanting = range(max(begun, len(segment.tokens) - segment.logits), end)
            self.wanted += [len(self.tokens) - end + at for at in wanting]


@torch.no_grad()
def _pack(library: ctypes.CDLL, packed: ctypes.c_void_p, model: Decoder, context: int) -> None:
    """Gives the C model the weights of `model`, whatever their dtype, and the rotations of the first `context`
    positions."""
    shape, trunk = model.shape, model.model

    def put(name: int, index: int, tensor: Tensor) -> None:
        whole = tensor.detach().to("cpu", torch.float32).contiguous()
        library.model_set(packed, name, index, whole.data_ptr())

    put(EMBEDDING, 0, trunk.embed_tokens.weight)
    put(FINAL_NORM, 0, trunk.norm.weight)
    put(HEAD, 0, model.head)
    cos, sin = rotation(torch.arange(context)[None], trunk.frequencies.cpu(), trunk.rope_factor, torch.float32)
    half = shape.head_width // 2
    put(ROPE, 0, torch.cat((cos[0, :, 0, :half], sin[0, :, 0, :half]), dim=-1))
    for index, block in enumerate(trunk.layers):
        assert isinstance(block, Block)
        attention, mlp = block.self_attn, block.mlp
        three = (attention.q_proj, attention.k_proj, attention.v_proj)
        put(INPUT_NORM, index, block.input_layernorm.weight)
        put(POST_NORM, index, block.post_attention_layernorm.weight)
        put(QKV, index, torch.cat([linear.weight for linear in three]))
        if shape.qkv_bias:
            put(BIAS, index, torch.cat([linear.bias for linear in three]))
        if shape.qk_norm:
            put(Q_NORM, index, attention.q_norm.weight)
            put(K_NORM, index, attention.k_norm.weight)
        put(OUT, index, attention.o_proj.weight)
        put(GATE_UP, index, torch.cat((mlp.gate_proj.weight, mlp.up_proj.weight)))
        put(DOWN, index, mlp.down_proj.weight)
