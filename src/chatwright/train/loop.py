"""The one training loop: accumulation, clipping, the non-finite guard, checkpoints, exact resume.

Everything random or ordered is a pure function of (seed, step), so a checkpoint needs no cursor and no generator state:
weights, optimiser moments and the step number are the whole of it, and a run killed at any instant goes on to
the same bits. Losses are sums over tokens; the loop divides by the number of tokens of the whole step, over all
micro-batches and ranks, so that accumulation and parallelism do not change the gradient.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from chatwright.config import LoraConfig, TrainConfig
from chatwright.errors import ChatwrightError, WorkspaceError
from chatwright.files import sync_folder, write_json
from chatwright.machine import compute_dtype
from chatwright.model.checkpoint import save_descendant
from chatwright.model.lora import merged, save_adapter
from chatwright.progress import Stage
from chatwright.train.distributed import World
from chatwright.train.optim import build_optimizers, lr_factor
from chatwright.workspace import Artefact, finish, load_artefact

Loss = Callable[[Any, Any], tuple[Tensor, dict[str, float]]]
"""(model, micro-batch) -> (summed loss, summed figures)."""

MAX_SKIPPED = 5


@dataclass(slots=True)
class StepReport:
    """One optimiser step: figures are means over the step's tokens."""

    loss: float
    grad_norm: float
    weight: float
    skipped: bool
    figures: dict[str, float] = field(default_factory=dict)


class _LossModule(nn.Module):
    """Runs a loss inside a module's forward, where DDP and FSDP2 have their hooks."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.inner = model

    def forward(self, loss: Loss, batch: Any) -> tuple[Tensor, dict[str, float]]:
        return loss(self.inner, batch)


class Trainer:
    """A model with its optimisers: takes steps, saves itself, comes back.

    `model` is trained in place; parameters are float32 whatever the precision of the activations.
    """

    def __init__(self, model: nn.Module, config: TrainConfig, *, world: World | None = None) -> None:
        self.world = world or World()
        self.model, self.config = model.to(self.world.device), config
        self._wrapped = self.world.wrap(_LossModule(model))
        self.optimizers = build_optimizers(model, config.optim, compute_dtype(config.precision, self.world.device))
        self.step_number = 0
        self.skipped = 0
        self._skipped_in_a_row = 0
        self.seconds = 0.0

    def step(self, micro_batches: Sequence[Any], loss: Loss, weight: float, progress: float) -> StepReport:
        """One optimiser step over this rank's `micro_batches`.

        `weight` is the number of loss tokens (or pairs) in them; `progress` in 0..1 sets the learning rate. A step
        whose gradient is not finite is skipped and counted; after five in a row ChatwrightError is raised.
        """
        started = time.monotonic()
        (total_weight,) = self.world.sum([weight])
        total_weight = total_weight or 1.0  # a step of rows without weight
        scale = self.world.size / total_weight  # DDP and FSDP2 average over ranks
        loss_sum, figures = 0.0, {}
        # FSDP2 gathers weights in every pass, so ranks with fewer micro-batches go along without weight.
        passes = self.world.largest(len(micro_batches))
        for index in range(passes):
            self._sync_gradients(index == passes - 1)
            value, more = self._wrapped(loss, micro_batches[min(index, len(micro_batches) - 1)])
            if index >= len(micro_batches):
                (value * 0.0).backward()
                continue
            (value * scale).backward()
            loss_sum += float(value.detach())
            for key, amount in more.items():
                figures[key] = figures.get(key, 0.0) + float(amount)
        sums = self.world.sum([loss_sum, *figures.values()])
        norm = self._clip()
        bad = not math.isfinite(norm) or not math.isfinite(sums[0])
        if not bad:
            self._apply(progress)
        self._guard(bad)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.step_number += 1
        self.seconds += time.monotonic() - started
        means = [value / total_weight for value in sums]
        return StepReport(means[0], norm, total_weight, bad, dict(zip(figures, means[1:], strict=True)))

    @torch.no_grad()
    def measure(self, loss: Loss, batch: Any) -> tuple[Tensor, dict[str, float]]:
        """The loss without a step; on every rank alike, since sharded weights are gathered on the way."""
        return self._wrapped(loss, batch)

    def whole_state(self) -> dict[str, Tensor]:
        """The model's weights, gathered from the ranks, on the CPU."""
        return {name: _gathered(p) for name, p in self.model.named_parameters()}

    @torch.no_grad()
    def refresh(self, reader: nn.Module) -> None:
        """Brings `reader`, the whole copy of a sharded model, up to date, on every rank. The model itself is."""
        if reader is not self.model:
            whole = self.whole_state()
            for name, parameter in reader.named_parameters():
                parameter.copy_(whole[name])

    @torch.no_grad()
    def place(self, weights: Mapping[str, Tensor]) -> None:
        """Puts whole weights into the model, sharded as it is; raises KeyError where one is missing."""
        for name, parameter in self.model.named_parameters():
            parameter.copy_(_placed(weights[name], parameter))

    def _sync_gradients(self, last: bool) -> None:
        """Gradients travel between ranks once per step, with the last micro-batch."""
        if self.world.size == 1:
            return
        if isinstance(self._wrapped, nn.parallel.DistributedDataParallel):
            self._wrapped.require_backward_grad_sync = last
        else:
            self._wrapped.set_requires_gradient_sync(last)  # type: ignore[operator]

    def _clip(self) -> float:
        """Clips the AdamW group (Muon's step does not depend on the gradient's length); returns the norm of all."""
        norms = []
        for optimizer in self.optimizers:
            parameters = [p for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
            if not parameters:
                continue
            limit = self.config.optim.clip if isinstance(optimizer, torch.optim.AdamW) else math.inf
            norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
            norms.append(float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm))  # type: ignore[attr-defined]
        return math.sqrt(sum(n * n for n in norms)) if norms else 0.0

    def _apply(self, progress: float) -> None:
        factor = lr_factor(progress, self.config.optim)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * factor
            optimizer.step()

    def _guard(self, bad: bool) -> None:
        self.skipped += bad
        self._skipped_in_a_row = self._skipped_in_a_row + 1 if bad else 0
        if self._skipped_in_a_row >= MAX_SKIPPED:
            raise ChatwrightError(
                f"the loss was not finite in {MAX_SKIPPED} steps in a row (step {self.step_number}); lower the "
                "learning rates (optim.muon_lr, optim.adam_lr) and start again from the last checkpoint"
            )

    def tensors(self) -> dict[str, Tensor]:
        """Weights and optimiser moments, whole, on the CPU: what `restore` needs to go on to the same bits."""
        tensors = {f"model/{name}": _gathered(p) for name, p in self.model.named_parameters()}
        names = {id(p): name for name, p in self.model.named_parameters()}
        for optimizer in self.optimizers:
            for parameter, moments in optimizer.state.items():
                for key, value in moments.items():
                    tensors[f"optim/{key}/{names[id(parameter)]}"] = _gathered(value)
        return tensors

    def facts(self) -> dict[str, float]:
        return {"step": self.step_number, "skipped": self.skipped, "skipped_in_a_row": self._skipped_in_a_row,
                "seconds": self.seconds}  # fmt: skip

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        self.place({name: tensors[f"model/{name}"] for name, _ in self.model.named_parameters()})
        names = {id(p): name for name, p in self.model.named_parameters()}
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    self._load_moments(optimizer, parameter, names[id(parameter)], tensors)
        self.step_number, self.skipped, self.seconds = facts["step"], facts["skipped"], facts["seconds"]
        self._skipped_in_a_row = facts["skipped_in_a_row"]

    @staticmethod
    def _load_moments(
        optimizer: torch.optim.Optimizer, parameter: Tensor, name: str, tensors: Mapping[str, Tensor]
    ) -> None:
        for full_key, value in tensors.items():
            kind, _, rest = full_key.partition("/")
            key, _, owner = rest.partition("/")
            if kind == "optim" and owner == name:
                placed = value.to(parameter.device) if value.ndim == 0 else _placed(value, parameter)
                optimizer.state[parameter][key] = placed


def _gathered(tensor: Tensor) -> Tensor:
    whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor  # type: ignore[attr-defined]
    return whole.detach().cpu().clone()


def _placed(tensor: Tensor, like: Tensor) -> Tensor:
    """`tensor` on the device of `like`, sharded as `like` is."""
    tensor = tensor.to(like.device)
    if not hasattr(like, "device_mesh"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, like.device_mesh, like.placements)  # type: ignore[attr-defined]


def save_state(state: Path, step: int, trainers: Mapping[str, Trainer], **more: Any) -> None:
    """Writes the state of all `trainers` as one folder, renamed into place; earlier ones go once it is safe on disk.

    Tensors as safetensors, the rest as JSON. A kill at any instant leaves this step or the one before, never a mixture.
    """
    tensors = {f"{name}/{key}": t for name, trainer in trainers.items() for key, t in trainer.tensors().items()}
    first = next(iter(trainers.values()))
    if first.world.main:
        folder = state / f"step-{step:08d}"
        passing = state / f".{folder.name}.tmp"
        for leftover in (passing, folder):
            shutil.rmtree(leftover, ignore_errors=True)
        passing.mkdir(parents=True)
        try:
            save_file({key: t.contiguous() for key, t in tensors.items()}, passing / "state.safetensors")
            facts = {"step": step, "trainers": {name: t.facts() for name, t in trainers.items()}, **more}
            write_json(passing / "state.json", facts)
            with (passing / "state.safetensors").open("rb") as handle:
                os.fsync(handle.fileno())
        except (OSError, SafetensorError) as error:
            shutil.rmtree(passing, ignore_errors=True)
            raise WorkspaceError(f"the checkpoint {folder} could not be written ({error}); is the disk full?") from None
        passing.rename(folder)
        sync_folder(state)
        for old in state.glob("step-*"):
            if old != folder:
                shutil.rmtree(old, ignore_errors=True)
    first.world.barrier()


def load_state(state: Path, trainers: Mapping[str, Trainer]) -> dict[str, Any] | None:
    """Takes `trainers` back to the newest saved step; returns what was saved beside it, None if nothing is."""
    folders = sorted(state.glob("step-*"))
    if not folders:
        return None
    try:
        facts = json.loads((folders[-1] / "state.json").read_text("utf-8"))
        tensors = load_file(folders[-1] / "state.safetensors")
        for name, trainer in trainers.items():
            own = {key.removeprefix(f"{name}/"): t for key, t in tensors.items() if key.startswith(f"{name}/")}
            trainer.restore(own, facts["trainers"][name])
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise WorkspaceError(
            f"the saved state {folders[-1]} is damaged ({error}); remove that folder to start its stage again"
        ) from None
    return facts


@dataclass(slots=True)
class Plan:
    """What a supervised stage gives the loop: data as a function of the step, and a loss."""

    steps: int
    batches: Callable[[int], tuple[Sequence[Any], float]]
    """step -> (micro-batches of this rank, their weight)"""
    loss: Loss
    evaluate: Callable[[], dict[str, float]] | None = None
    sample: Callable[[], None] | None = None
    minutes: float = 0.0
    """If above 0: training time instead of `steps` decides the end and the schedule (not reproducible to the bit)."""
    tokens_per_step: int = 0


def run_plan(trainer: Trainer, plan: Plan, state: Path, stage: Stage) -> list[dict[str, float]]:
    """Runs or resumes `plan`; returns the curve: one row per evaluation, with step and seconds.

    Order at a checkpoint step: save, then evaluate, so that an evaluation that fails loses nothing.
    """
    config = trainer.config
    saved = load_state(state, {"model": trainer}) or {}
    curve: list[dict[str, float]] = list(saved.get("curve", []))
    if saved:
        stage.note(f"goes on from step {trainer.step_number}")

    def position() -> float:
        if plan.minutes:
            return min(trainer.seconds / (60 * plan.minutes), 1.0)
        return trainer.step_number / plan.steps

    def due(every: int) -> bool:
        return trainer.step_number % every == 0 or position() >= 1.0

    def measure() -> None:
        figures = plan.evaluate() if plan.evaluate else {}
        curve.append({"step": trainer.step_number, "seconds": trainer.seconds, **figures})
        stage.metrics(**figures)
        if plan.sample:
            plan.sample()

    if not curve or (saved and curve[-1]["step"] < trainer.step_number and due(config.evaluate_every)):
        measure()
    while position() < 1.0:
        batches, weight = plan.batches(trainer.step_number)
        started, before = time.monotonic(), position()
        report = trainer.step(batches, plan.loss, weight, before + 0.5 / max(plan.steps, 1) if plan.steps else before)
        if report.skipped:
            stage.warn(f"step {trainer.step_number}: the gradient was not finite, the step was skipped")
        rate = plan.tokens_per_step / (time.monotonic() - started)
        done = trainer.step_number if not plan.minutes else round(position() * stage.total)
        stage.advance(done, loss=report.loss, tokens_per_second=rate, **report.figures)
        if due(config.checkpoint_every) or due(config.evaluate_every):
            save_state(state, trainer.step_number, {"model": trainer}, curve=curve)
        if due(config.evaluate_every):
            measure()
    return curve


def save_tuned(out: Path, start: Path, state: dict[str, Tensor], lora: LoraConfig) -> None:
    """The tuned model of `start` as plain weights in `out`, and beside them the adapter where one was trained."""
    if lora.rank:
        save_adapter(out / "adapter", state, lora, str(start))
    save_descendant(out, start, merged(state, lora))


def finish_model(out: Path, trainer: Trainer, save: Callable[[dict[str, Tensor]], None], **manifest: Any) -> Artefact:
    """Saves the weights and writes the manifest; rank 0 writes, every rank returns the artefact."""
    whole = trainer.whole_state()
    if trainer.world.main:
        save(whole)
        finish(out, **manifest)
    trainer.world.barrier()
    return load_artefact(out)
