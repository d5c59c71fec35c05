"""The shape of a decoder, and its two spellings: ours and the `config.json` of Hugging Face.

One dataclass covers the Llama family as far as Chatwright knows it: llama, mistral, qwen2 and qwen3 differ only in
biases, QK-norm and sliding window. Anything else in a foreign `config.json` that would change the logits is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chatwright.errors import CheckpointError

ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}


ROPE_NEEDS = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"),
    "yarn": ("factor",),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything the decoder's arithmetic depends on. Widths in numbers, context in tokens."""

    vocab_size: int
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    mlp_width: int
    context: int
    rope_theta: float = 10_000.0
    rope_scaling: dict[str, Any] | None = None
    norm_eps: float = 1e-6
    qkv_bias: bool = False
    qk_norm: bool = False
    tie_embeddings: bool = True
    sliding_window: int | None = None
    family: str = "llama"

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads:
            raise CheckpointError(f"{self.heads} heads cannot share {self.kv_heads} key-value heads evenly")
        if self.qkv_bias != (self.family == "qwen2") or self.qk_norm != (self.family == "qwen3"):
            raise CheckpointError("biases on queries, keys and values go with qwen2, norms on them with qwen3")
        if self.sliding_window is not None and self.family != "mistral":
            raise CheckpointError(f"a sliding window goes with mistral, not {self.family}")
        if self.head_width % 2:
            raise CheckpointError(f"a head of width {self.head_width} cannot be rotated in pairs; use an even width")

    @property
    def parameters(self) -> int:
        """Number of weights, tied ones counted once."""
        attention = self.width * self.head_width * (2 * self.heads + 2 * self.kv_heads)
        bias = self.head_width * (self.heads + 2 * self.kv_heads) if self.qkv_bias else 0
        norms = 2 * self.width + (2 * self.head_width if self.qk_norm else 0)
        block = attention + bias + 3 * self.width * self.mlp_width + norms
        embeddings = self.vocab_size * self.width * (1 if self.tie_embeddings else 2)
        return self.layers * block + embeddings + self.width

    def to_hf(self) -> dict[str, Any]:
        """The `config.json` that transformers and vLLM read."""
        rope = {"rope_type": "default", **(self.rope_scaling or {}), "rope_theta": self.rope_theta}
        config: dict[str, Any] = {
            "architectures": [ARCHITECTURES[self.family]],
            "model_type": self.family,
            "vocab_size": self.vocab_size,
            "num_hidden_layers": self.layers,
            "hidden_size": self.width,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_width,
            "intermediate_size": self.mlp_width,
            "max_position_embeddings": self.context,
            "rope_theta": self.rope_theta,
            "rope_scaling": self.rope_scaling,
            "rope_parameters": rope,
            "rms_norm_eps": self.norm_eps,
            "hidden_act": "silu",
            "tie_word_embeddings": self.tie_embeddings,
            "attention_bias": False,
            "torch_dtype": "float32",
        }
        if self.family in ("mistral", "qwen2", "qwen3"):
            config["sliding_window"] = self.sliding_window
        if self.family in ("qwen2", "qwen3"):
            config["use_sliding_window"] = False
        return config

    @staticmethod
    def from_hf(config: Mapping[str, Any]) -> Shape:
        """Reads a foreign `config.json`; raises CheckpointError for a family or feature that is not known here."""
        try:
            return Shape._from_hf(config)
        except KeyError as error:
            raise CheckpointError(f"config.json lacks {error}; is it the config of a language model?") from None
        except (TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"config.json holds a value that cannot be read ({error})") from None

    @staticmethod
    def _from_hf(config: Mapping[str, Any]) -> Shape:
        family = config.get("model_type")
        if family not in ARCHITECTURES:
            raise CheckpointError(f"the architecture {family!r} is not known; known are {', '.join(ARCHITECTURES)}")
        _refuse_unknown(config)
        heads, width = int(config["num_attention_heads"]), int(config["hidden_size"])
        theta, scaling = _rope(config)
        window = config.get("sliding_window")
        if family in ("qwen2", "qwen3") and not config.get("use_sliding_window", False):
            window = None
        elif family in ("qwen2", "qwen3") and window is not None:
            raise CheckpointError(f"{family} with sliding windows in some layers is not supported")
        return Shape(
            vocab_size=int(config["vocab_size"]),
            layers=int(config["num_hidden_layers"]),
            width=width,
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_width=int(config.get("head_dim") or width // heads),
            mlp_width=int(config["intermediate_size"]),
            context=int(config["max_position_embeddings"]),
            rope_theta=theta,
            rope_scaling=scaling,
            norm_eps=float(config.get("rms_norm_eps", 1e-6)),
            qkv_bias=family == "qwen2",
            qk_norm=family == "qwen3",
            tie_embeddings=bool(config.get("tie_word_embeddings", False)),
            sliding_window=int(window) if window and family == "mistral" else None,
            family=str(family),
        )


def _refuse_unknown(config: Mapping[str, Any]) -> None:
    if config.get("hidden_act", "silu") not in ("silu", "swish"):
        raise CheckpointError(f"the activation {config['hidden_act']!r} is not supported, only silu")
    if config.get("mlp_bias"):
        raise CheckpointError("biases in the MLP are not supported")
    if config.get("quantization_config"):
        raise CheckpointError("quantised checkpoints are not supported; import the unquantised one")
    if config.get("attention_bias") and config.get("model_type") != "qwen2":
        raise CheckpointError("a bias on the attention output is not supported")
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if (share := config.get("partial_rotary_factor", rope.get("partial_rotary_factor"))) not in (None, 1, 1.0):
        raise CheckpointError(f"rotating only {share} of each head is not supported")


def _rope(config: Mapping[str, Any]) -> tuple[float, dict[str, Any] | None]:
    """(theta, scaling or None) from either spelling: `rope_theta`/`rope_scaling`, or `rope_parameters`."""
    parameters = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    theta = float(parameters.pop("rope_theta", None) or config.get("rope_theta") or 10_000.0)
    kind = parameters.pop("rope_type", None) or parameters.pop("type", None) or "default"
    if kind not in ROPE_NEEDS:
        raise CheckpointError(f"the RoPE scaling {kind!r} is not supported, only linear, llama3 and yarn")
    for needed in ROPE_NEEDS[kind]:
        float(parameters[needed])
    return theta, None if kind == "default" else {"rope_type": kind, **parameters}
