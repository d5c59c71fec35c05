"""A decoder's shape as GGUF metadata, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from chatwright.errors import CheckpointError, InputError
from chatwright.model.rope import rope_frequencies
from chatwright.model.shape import Shape

OUR_CONFIG = "chatwright.config"
"""Our whole `config.json`, for what GGUF has no word for; other readers pass over it."""
LLAMA_3_1 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
"""How every published Llama 3.1 to 3.3 is scaled; a GGUF file has only the resulting factors."""


def architecture(shape: Shape) -> str:
    """Mistral is a `llama` to llama.cpp."""
    return "llama" if shape.family == "mistral" else shape.family


def shape_metadata(shape: Shape) -> dict[str, Any]:
    """Every key that describes the decoder; raises InputError for what llama.cpp does not compute.

    llama.cpp has no sliding window for this architecture: the context is cut to the window, within which the logits
    are the same.
    """
    arch = architecture(shape)
    if arch == "qwen2" and shape.heads * shape.head_width != shape.width:
        raise InputError(f"llama.cpp opens a qwen2 only where its heads together are as wide as the model, "
                         f"not {shape.heads} of {shape.head_width} in {shape.width}")  # fmt: skip
    keys: dict[str, Any] = {
        "context_length": min(shape.context, shape.sliding_window or shape.context),
        "embedding_length": shape.width,
        "block_count": shape.layers,
        "feed_forward_length": shape.mlp_width,
        "attention.head_count": shape.heads,
        "attention.head_count_kv": shape.kv_heads,
        "attention.key_length": shape.head_width,
        "attention.value_length": shape.head_width,
        "attention.layer_norm_rms_epsilon": float(shape.norm_eps),
        "rope.dimension_count": shape.head_width,
        "rope.freq_base": float(shape.rope_theta),
        "vocab_size": shape.vocab_size,
        **_scaling_keys(shape),
    }
    return {f"{arch}.{key}": value for key, value in keys.items()}


def needs_factors(shape: Shape) -> bool:
    """Whether the scaling is written as one factor a frequency: llama3, and yarn with bounds of its own."""
    scaling = shape.rope_scaling
    if scaling is None or scaling["rope_type"] == "linear":
        return False
    usual = float(scaling.get("beta_fast") or 32) == 32 and float(scaling.get("beta_slow") or 1) == 1
    return scaling["rope_type"] == "llama3" or not usual


def rope_factors(shape: Shape) -> np.ndarray:
    """What each frequency is divided by, head_width / 2 numbers."""
    plain, _ = rope_frequencies(shape.head_width, shape.rope_theta, None, shape.context)
    scaled, _ = rope_frequencies(shape.head_width, shape.rope_theta, shape.rope_scaling, shape.context)
    return (plain / scaled).to(torch.float32).numpy()


def _scaling_keys(shape: Shape) -> dict[str, Any]:
    scaling = shape.rope_scaling
    if scaling is None:
        return {}
    kind, factor = scaling["rope_type"], float(scaling["factor"])
    if kind == "linear":
        return {"rope.scaling.type": "linear", "rope.scaling.factor": factor}
    _, attention = rope_frequencies(shape.head_width, shape.rope_theta, scaling, shape.context)
    if needs_factors(shape):
        if architecture(shape) != "llama":
            raise InputError(f"llama.cpp does not compute the RoPE scaling {kind} of this {shape.family} model")
        return {"rope.scaling.type": "none"} | ({"rope.scaling.attn_factor": attention} if attention != 1 else {})
    trained = int(scaling.get("original_max_position_embeddings") or shape.context)
    keys = {"rope.scaling.type": "yarn", "rope.scaling.factor": factor, "rope.scaling.original_context_length": trained}
    own = attention / _usual_attention(factor)
    return keys | ({"rope.scaling.attn_factor": own} if abs(own - 1) > 1e-6 else {})


def _usual_attention(factor: float) -> float:
    """By what yarn multiplies cosines and sines unless told otherwise (Peng et al. 2023, eq. 22)."""
    return 0.1 * math.log(factor) + 1.0 if factor > 1 else 1.0


def read_shape(fields: Mapping[str, Any], vocab_size: int, *, tied: bool, factors: np.ndarray | None) -> Shape:
    """The shape a file describes; raises CheckpointError for an architecture or feature that is not known here."""
    arch = fields.get("general.architecture")
    if arch not in ("llama", "mistral", "qwen2", "qwen3"):
        raise CheckpointError(f"the architecture {arch!r} is not known; known are llama, mistral, qwen2 and qwen3")
    if (ours := _our_shape(fields, vocab_size, tied)) is not None:
        return ours

    def need(key: str) -> Any:
        if (value := fields.get(f"{arch}.{key}")) is None:
            raise CheckpointError(f"the file lacks {arch}.{key}; is it a whole model?")
        return value

    def may(key: str, default: Any) -> Any:
        value = fields.get(f"{arch}.{key}")
        return default if value is None else value

    if may("expert_count", 0):
        raise CheckpointError("models of several experts are not supported")
    heads, width = int(need("attention.head_count")), int(need("embedding_length"))
    head_width = int(may("attention.key_length", width // heads))
    if int(may("attention.value_length", head_width)) != head_width:
        raise CheckpointError("values of another width than keys are not supported")
    if int(may("rope.dimension_count", head_width)) != head_width:
        raise CheckpointError("rotating only a part of each head is not supported")
    theta, context = _shortest(may("rope.freq_base", 10_000.0)), int(need("context_length"))
    return Shape(
        vocab_size=vocab_size,
        layers=int(need("block_count")),
        width=width,
        heads=heads,
        kv_heads=int(may("attention.head_count_kv", heads)),
        head_width=head_width,
        mlp_width=int(need("feed_forward_length")),
        context=context,
        rope_theta=theta,
        rope_scaling=_read_scaling(may, head_width, theta, context, factors),
        norm_eps=_shortest(need("attention.layer_norm_rms_epsilon")),
        qkv_bias=arch == "qwen2",
        qk_norm=arch == "qwen3",
        tie_embeddings=tied,
        sliding_window=int(window) if arch == "mistral" and (window := may("attention.sliding_window", 0)) else None,
        family=arch,
    )


def _our_shape(fields: Mapping[str, Any], vocab_size: int, tied: bool) -> Shape | None:
    """What we wrote ourselves, where nobody has changed the file's own keys since; else None."""
    try:
        shape = Shape.from_hf(json.loads(fields[OUR_CONFIG]))
        written = shape_metadata(shape)
    except (KeyError, ValueError, TypeError, CheckpointError, InputError):
        return None
    about_rope = {key for key in fields if ".rope." in key}

    def same(key: str) -> bool:
        there, here = fields.get(key), written.get(key)
        if isinstance(there, float) and isinstance(here, float):
            return bool(np.float32(there) == np.float32(here))
        return there == here

    alike = all(same(key) for key in written.keys() | about_rope)
    return shape if alike and (shape.vocab_size, shape.tie_embeddings) == (vocab_size, tied) else None


def _read_scaling(
    may: Any, head_width: int, theta: float, context: int, factors: np.ndarray | None
) -> dict[str, Any] | None:
    kind = may("rope.scaling.type", None)
    factor = _shortest(may("rope.scaling.factor", may("rope.scale_linear", 0.0)))
    if factors is not None:
        return _known_factors(factors, head_width, theta, context)
    if kind == "none" or factor in (0.0, 1.0):
        return None
    if kind in (None, "linear"):
        return {"rope_type": "linear", "factor": factor}
    if kind != "yarn":
        raise CheckpointError(f"the RoPE scaling {kind!r} is not supported, only linear, llama3 and yarn")
    trained = int(may("rope.scaling.original_context_length", context))
    scaling = {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": trained}
    if (own := may("rope.scaling.attn_factor", None)) is not None:
        scaling["attention_factor"] = _shortest(own) * _usual_attention(factor)
    for theirs, here in (("yarn_beta_fast", "beta_fast"), ("yarn_beta_slow", "beta_slow"),
                         ("yarn_attn_factor", "attention_factor")):  # fmt: skip
        if (value := may(f"rope.scaling.{theirs}", None)) is not None:
            scaling.setdefault(here, _shortest(value))
    return scaling


def _known_factors(factors: np.ndarray, head_width: int, theta: float, context: int) -> dict[str, Any]:
    """The llama3 scaling that gives these factors; raises CheckpointError where it is another."""
    scaling = {"rope_type": "llama3", "factor": _shortest(factors.max()), **LLAMA_3_1}
    plain, _ = rope_frequencies(head_width, theta, None, context)
    scaled, _ = rope_frequencies(head_width, theta, scaling, context)
    if factors.shape != plain.shape or not np.allclose(factors, (plain / scaled).numpy(), rtol=1e-3):
        raise CheckpointError("the file scales its RoPE frequencies in a way that is not known (rope_freqs.weight)")
    return scaling


def _shortest(value: Any) -> float:
    """A float32 as people wrote it: 1e-06, not 9.999999974752427e-07."""
    return float(str(np.float32(value)))
