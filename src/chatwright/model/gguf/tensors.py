"""Weights in GGUF: their names there, the order of rows in queries and keys, and the formats of their numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chatwright.errors import CheckpointError, InputError
from chatwright.model.shape import Shape

NUMBER_FORMATS = ("f32", "f16", "bf16", "q8_0")
Q8_BLOCK = 32
"""Numbers of a row that share one scale in q8_0."""
ROPE_FACTORS = "rope_freqs.weight"

_WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_IN_BLOCK = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip
_IN_BLOCK_BACK = {there: here for here, there in _IN_BLOCK.items()}
_WHOLE_BACK = {there: here for here, there in _WHOLE.items()}


def gguf_name(name: str) -> str:
    """`model.layers.3.mlp.up_proj.weight` is `blk.3.ffn_up.weight` there."""
    stem, _, kind = name.rpartition(".")
    if stem in _WHOLE:
        return f"{_WHOLE[stem]}.{kind}"
    _, _, layer, inner = stem.split(".", 3)
    return f"blk.{layer}.{_IN_BLOCK[inner]}.{kind}"


def our_name(name: str) -> str:
    """The other way; raises CheckpointError for a tensor that none of the known architectures has."""
    stem, _, kind = name.rpartition(".")
    if kind in ("weight", "bias") and stem in _WHOLE_BACK:
        return f"{_WHOLE_BACK[stem]}.{kind}"
    found = re.fullmatch(r"blk\.(\d+)\.([a-z_]+)", stem)
    if kind not in ("weight", "bias") or found is None or found[2] not in _IN_BLOCK_BACK:
        raise CheckpointError(f"the tensor {name} belongs to no architecture that is known here")
    return f"model.layers.{found[1]}.{_IN_BLOCK_BACK[found[2]]}.{kind}"


def interleave(weight: Tensor, heads: int) -> Tensor:
    """Rows of each head from halves (0..n/2, n/2..n) to pairs (0, n/2, 1, n/2+1, ...).

    llama.cpp rotates neighbours in its `llama` architecture, checkpoints of Hugging Face rotate halves.
    """
    return weight.unflatten(0, (heads, 2, -1)).transpose(1, 2).reshape(weight.shape)


def separate(weight: Tensor, heads: int) -> Tensor:
    """Undoes `interleave`."""
    return weight.unflatten(0, (heads, -1, 2)).transpose(1, 2).reshape(weight.shape)


def _rotated_heads(name: str, shape: Shape) -> int:
    """Over how many heads the rows of this tensor are reordered; 0 for those that are not."""
    if shape.family not in ("llama", "mistral"):
        return 0
    return shape.heads if ".q_proj." in name else shape.kv_heads if ".k_proj." in name else 0


def encoded(state: Mapping[str, Tensor], shape: Shape, number_format: str) -> Iterator[tuple[str, np.ndarray, Any]]:
    """(name there, data, type) of every tensor. Vectors stay float32, as llama.cpp wants them.

    Rows that q8_0 cannot cut into blocks of 32 are written as f16.
    """
    from gguf import GGMLQuantizationType, quants

    wanted = GGMLQuantizationType[number_format.upper()]
    for name, tensor in state.items():
        heads = _rotated_heads(name, shape)
        values = (interleave(tensor, heads) if heads else tensor).detach().float().cpu().numpy()
        kind = wanted if values.ndim > 1 else GGMLQuantizationType.F32
        if kind == GGMLQuantizationType.Q8_0 and values.shape[-1] % Q8_BLOCK:
            kind = GGMLQuantizationType.F16
        if kind in (GGMLQuantizationType.F16, GGMLQuantizationType.Q8_0) and np.abs(values).max() > 65504:
            raise InputError(f"{name} holds values beyond what {number_format} can hold; write it as bf16 or f32")
        yield gguf_name(name), quants.quantize(np.ascontiguousarray(values), kind), kind


def decoded(tensors: Mapping[str, Any], shape: Shape) -> dict[str, Tensor]:
    """Our float32 tensors out of the file's, whatever they are quantised to.

    Raises CheckpointError for tensors of other architectures and for formats that cannot be read.
    """
    from gguf import quants

    state: dict[str, Tensor] = {}
    for there, tensor in tensors.items():
        if there == ROPE_FACTORS:
            continue
        name = our_name(there)
        try:
            values = quants.dequantize(tensor.data, tensor.tensor_type)
        except NotImplementedError:
            raise CheckpointError(
                f"{there} is stored as {tensor.tensor_type.name}, which cannot be read here"
            ) from None
        weight = torch.from_numpy(np.array(values, dtype=np.float32))
        heads = _rotated_heads(name, shape)
        if heads and weight.shape[0] % (2 * heads):
            raise CheckpointError(f"{there} has {weight.shape[0]} rows, which {heads} heads cannot share")
        state[name] = separate(weight, heads).contiguous() if heads else weight
    return state
