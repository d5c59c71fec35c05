"""LoRA adapters chosen by request: many small differences over one set of weights.

An adapter is a folder in the layout of the peft library. A model that uses it shares every weight with the model it
adapts, so that an adapter costs its own few matrices and nothing else.
"""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from chatwright.engine.runner import Runner
from chatwright.errors import CheckpointError
from chatwright.model.decoder import Decoder, Linear

PREFIX = "base_model.model."
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@dataclass(frozen=True, slots=True)
class Adapter:
    """W x becomes W x + scale B (A x) for each named matrix: A is r x in, B out x r."""

    matrices: dict[str, tuple[Tensor, Tensor]]
    scale: float


@runtime_checkable
class AdaptingRunner(Runner, Protocol):
    """A runner that computes each slot with an adapter, or none."""

    def add_adapter(self, name: str, adapter: Adapter) -> None: ...
    def bind(self, slot: int, adapter: str) -> None:
        """From now on `slot` is computed with this adapter; "" is the model itself."""
        ...


def load_adapter(folder: Path | str) -> Adapter:
    """Reads a folder as peft writes it; raises CheckpointError where it is damaged or more than plain LoRA."""
    folder = Path(folder)
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        tensors = load_file(folder / WEIGHTS)
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder} is not a LoRA adapter of the peft library ({error!r})") from None
    _refuse_unknown(folder, config)
    matrices = {}
    for name in (n for n in tensors if n.endswith(".lora_A.weight")):
        stem = name.removesuffix(".lora_A.weight")
        b = tensors.get(f"{stem}.lora_B.weight")
        a = tensors[name]
        if b is None or a.ndim != 2 or b.ndim != 2 or not a.shape[0] == b.shape[1] == rank:
            raise CheckpointError(f"{folder / WEIGHTS} has no whole pair of matrices of rank {rank} for {stem}")
        matrices[stem.removeprefix(PREFIX)] = (a.float(), b.float())
    if 2 * len(matrices) != len(tensors) or not matrices:
        raise CheckpointError(f"{folder / WEIGHTS} holds tensors that are no part of a plain LoRA adapter")
    return Adapter(matrices, alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))


def _refuse_unknown(folder: Path, config: dict[str, Any]) -> None:
    if config.get("peft_type") != "LORA":
        raise CheckpointError(f"{folder} holds a {config.get('peft_type')!r} adapter; only LORA is known")
    plain = {"bias": "none", "fan_in_fan_out": False, "use_dora": False, "modules_to_save": None}
    plain |= {"rank_pattern": {}, "alpha_pattern": {}}
    for name, usual in plain.items():
        if config.get(name, usual) not in (usual, None):
            raise CheckpointError(f"{folder} uses {name}={config[name]!r}, which is not supported")


class AdaptedLinear(nn.Module):
    """A linear layer whose weights belong to somebody else, and an adapter over it."""

    def __init__(self, base: Linear, a: Tensor, b: Tensor, scale: float) -> None:
        super().__init__()
        self.base, self.a, self.b, self.scale = base, a, b, scale

    @property
    def weight(self) -> Tensor:
        """Of the linear layer that computes the same as this one."""
        return self.base.weight + self.scale * (self.b @ self.a)

    @property
    def bias(self) -> Tensor | None:
        return self.base.bias

    def forward(self, input: Tensor) -> Tensor:
        low = F.linear(input, self.a.to(input.dtype))
        return self.base(input) + F.linear(low, self.b.to(input.dtype)) * self.scale


def adapted(model: Decoder, adapter: Adapter) -> Decoder:
    """A model with this adapter; it shares its weights with `model`, which stays as it is.

    Raises CheckpointError where the adapter belongs to another model.
    """
    shared: dict[int, Any] = {id(t): t for t in (*model.parameters(), *model.buffers())}
    twin = copy.deepcopy(model, shared)
    device = model.head.device
    for name, (a, b) in adapter.matrices.items():
        parent, _, leaf = name.rpartition(".")
        try:
            room = twin.get_submodule(parent)
            base = room.get_submodule(leaf)
        except AttributeError:
            raise CheckpointError(f"the adapter changes {name}, which this model does not have") from None
        if not isinstance(base, Linear) or base.weight.shape != (b.shape[0], a.shape[1]):
            raise CheckpointError(f"the adapter does not fit {name} of this model")
        setattr(room, leaf, AdaptedLinear(base, a.to(device), b.to(device), adapter.scale))
    return twin
