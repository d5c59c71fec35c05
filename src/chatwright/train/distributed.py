"""One process or many: ranks, sums over ranks, and sharding, through torchrun and torch.distributed.

`World()` alone is a single process. Under torchrun, `World.start()` joins the group: nccl on GPUs, gloo on CPUs. Data
is divided by rank as a pure function of the step, gradients are summed by DDP or FSDP2.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from chatwright.machine import default_device

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class World:
    """This process among its peers."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    sharding: Literal["ddp", "fsdp"] = "ddp"

    @staticmethod
    @contextmanager
    def start(sharding: Literal["ddp", "fsdp"] = "ddp") -> Iterator[World]:
        """The world torchrun describes in the environment, left again at the end of the block."""
        device = default_device()
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            yield World(device=device)
            return
        if device.startswith("cuda"):
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        try:
            yield World(dist.get_rank(), dist.get_world_size(), device, sharding)
        finally:
            dist.destroy_process_group()

    @property
    def main(self) -> bool:
        """Whether this rank writes files and talks to people."""
        return self.rank == 0

    def sum(self, values: list[float]) -> list[float]:
        """Each value summed over the ranks, in float64."""
        if self.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return tensor.tolist()

    def largest(self, value: int) -> int:
        """The largest of the ranks' values."""
        if self.size == 1:
            return value
        tensor = torch.tensor(value, device=self.device)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return int(tensor)

    @property
    def sharded(self) -> bool:
        """Whether this process holds only a part of the weights, so that a model cannot be used outside of a step."""
        return self.size > 1 and self.sharding == "fsdp"

    def trained(self, model: M) -> M:
        """The model to train for a stage that also reads `model` between its steps: itself, or a copy to be sharded.

        `Trainer.refresh` brings the whole one up to date, which then costs its weights once more and nothing else:
        gradients and moments stay sharded.
        """
        return copy.deepcopy(model) if self.sharded else model

    def barrier(self) -> None:
        if self.size > 1:
            dist.barrier()

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module whose gradients are shared between ranks: itself, DDP around it, or sharded by FSDP2."""
        if self.size == 1:
            return module
        if self.sharding == "ddp":
            return nn.parallel.DistributedDataParallel(module)
        from torch.distributed.fsdp import fully_shard

        for block in [m for m in module.modules() if type(m).__name__ == "Block"]:
            fully_shard(block)
        fully_shard(module)
        return module
