"""Low-rank adapters (Hu et al. 2021): the weights stay, each chosen matrix W gains (alpha / r) B A.

A is r x in, B out x r and zero at first, so that an adapted model begins as the model it adapts. Adapters are saved in
the layout of the peft library, and merged into plain weights for everything that only wants to run the model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn

from chatwright.config import LoraConfig
from chatwright.files import atomic_writer, write_json
from chatwright.model.decoder import Decoder, Linear

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")


class LoraLinear(nn.Module):
    """A frozen linear layer and its adapter; works in the dtype of its input, as `Linear` does."""

    def __init__(self, base: Linear, config: LoraConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        bound = 1 / math.sqrt(base.in_features)  # Kaiming's uniform with a = sqrt(5), as in the paper's code
        a = torch.empty(config.rank, base.in_features).uniform_(-bound, bound, generator=generator)
        self.lora_a = nn.Parameter(a.to(base.weight.device))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, config.rank, device=base.weight.device))
        self.scale = config.alpha / config.rank
        self.active = True

    @property
    def weight(self) -> Tensor:
        """Of the linear layer that computes the same as this one."""
        return self.base.weight + self.scale * (self.lora_b @ self.lora_a) if self.active else self.base.weight

    @property
    def bias(self) -> Tensor | None:
        return self.base.bias

    def forward(self, input: Tensor) -> Tensor:
        out = self.base(input)
        if not self.active:
            return out
        low = F.linear(input, self.lora_a.to(input.dtype))
        return out + F.linear(low, self.lora_b.to(input.dtype)) * self.scale


def adapt(model: Decoder, config: LoraConfig, seed: int) -> Decoder:
    """Freezes `model` and puts an adapter on every chosen matrix of its blocks; in place."""
    chosen = (*ATTENTION, *MLP) if config.targets == "all" else ATTENTION
    generator = torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    for block in model.model.layers:
        for room in (block.self_attn, block.mlp):
            for name in chosen:
                layer = getattr(room, name, None)
                if isinstance(layer, Linear):
                    setattr(room, name, LoraLinear(layer, config, generator))
    return model


@contextmanager
def unadapted(model: nn.Module) -> Iterator[None]:
    """Inside, `model` is the model that it adapts: the reference of PPO without a second copy of the weights."""
    layers = [m for m in model.modules() if isinstance(m, LoraLinear)]
    for layer in layers:
        layer.active = False
    try:
        yield
    finally:
        for layer in layers:
            layer.active = True


def merged(state: Mapping[str, Tensor], config: LoraConfig) -> dict[str, Tensor]:
    """The state of an adapted model as that of a plain one: W + (alpha / r) B A; any other state as it is."""
    plain = {name.replace(".base.", "."): t for name, t in state.items() if not name.endswith((".lora_a", ".lora_b"))}
    for name, a in state.items():
        if name.endswith(".lora_a"):
            stem = name.removesuffix(".lora_a")
            update = state[f"{stem}.lora_b"].double() @ a.double()
            weight = plain[f"{stem}.weight"]
            plain[f"{stem}.weight"] = (weight.double() + config.alpha / config.rank * update).to(weight.dtype)
    return plain


def save_adapter(out: Path, state: Mapping[str, Tensor], config: LoraConfig, base: str) -> None:
    """The adapter alone in `out`, as peft reads it; `base` names the model it belongs to."""
    tensors = {}
    for name, tensor in state.items():
        if name.endswith((".lora_a", ".lora_b")):
            stem, letter = name[: -len(".lora_a")], name[-1].upper()
            tensors[f"base_model.model.{stem}.lora_{letter}.weight"] = tensor.detach().cpu().contiguous()
    with atomic_writer(out / "adapter_model.safetensors") as handle:
        handle.write(save(tensors, metadata={"format": "pt"}))
    targets = sorted({name.split(".")[-3] for name in tensors})
    write_json(out / "adapter_config.json", {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "r": config.rank,
        "lora_alpha": config.alpha, "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False,
        "target_modules": targets, "inference_mode": True,
    })  # fmt: skip
