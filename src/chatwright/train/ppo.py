"""Proximal policy optimisation from human feedback (Ouyang et al. 2022; Schulman et al. 2017).

An iteration samples answers with the engine, scores them with the reward model, prices every token's departure from
the SFT model, estimates advantages with a value model that began as the reward model, and takes a few clipped steps.
Demonstrations, where given, are rehearsed in the same steps, so that what they taught is not forgotten (PPO-ptx). A
run is a pure function of its inputs and seed: killed between iterations, it goes on to the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chatwright.config import PpoConfig
from chatwright.engine import Engine, seeds
from chatwright.engine.choose import rollout_weights
from chatwright.engine.core import roomy_batch
from chatwright.errors import ConfigError, InputError
from chatwright.machine import compute_dtype
from chatwright.model.checkpoint import load_checkpoint, load_decoder
from chatwright.model.decoder import Decoder
from chatwright.model.lora import adapt
from chatwright.model.measure import language_loss
from chatwright.model.packing import Packed, deal, hidden_states, predicted
from chatwright.progress import Progress, Stage
from chatwright.records import Demonstration, Prompt
from chatwright.train.advantages import next_kl_coef
from chatwright.train.distributed import World
from chatwright.train.gold_measure import GoldCheck, GoldMonitor, drop_others, keep_best, restore_best
from chatwright.train.judges import load_judges
from chatwright.train.loop import Trainer, finish_model, load_state, save_state, save_tuned
from chatwright.train.losses import ppo_value_loss
from chatwright.train.mixture import packed_batches
from chatwright.train.policy_steps import (
    clipped_policy_loss,
    fitting_prompts,
    pack_actions,
    pieces,
    refuse_small_minibatches,
)
from chatwright.train.rollouts import Rollouts, collect, packed_width
from chatwright.train.scoring import ScoringModel, load_scoring
from chatwright.train.sft import prepare, source_of
from chatwright.train.values import HEAD, SharedValue, Valuer, head_of, values_of
from chatwright.workspace import STATE_FOLDER, Artefact


@dataclass(frozen=True, slots=True)
class Minibatch:
    """Packed answers and, per action in packed order, what the losses need."""

    packed: Packed
    old_logprobs: Tensor
    advantages: Tensor
    old_values: Tensor
    returns: Tensor


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Packed demonstrations; `scale` turns their summed loss into what it weighs beside the summed policy loss."""

    packed: Packed
    scale: float


def minibatch(rollouts: Rollouts, chosen: Sequence[int], width: int, device: str = "cpu") -> Minibatch:
    arrays = (rollouts.logprobs, rollouts.advantages, rollouts.values, rollouts.returns)
    packed, flat = pack_actions(rollouts, chosen, arrays, width, device)
    return Minibatch(packed, *flat)


def policy_loss(config: PpoConfig, dtype: torch.dtype) -> Any:
    """The clipped objective on answers; on rehearsed demonstrations ptx_coef E[-log pi] (Ouyang et al. 2022, eq. 2)."""
    rehearse = language_loss(dtype)

    def loss(model: Decoder, batch: Minibatch | Rehearsal) -> tuple[Tensor, dict[str, float]]:
        if isinstance(batch, Rehearsal):
            scaled = rehearse(model, batch.packed)[0] * batch.scale
            if config.value == "shared":  # ranks wait for every parameter's gradient
                scaled = scaled + 0.0 * head_of(model).weight.sum()
            return scaled, {"ptx_loss": float(scaled.detach()) / config.ptx_coef}
        hidden, targets, _ = predicted(model, batch.packed, dtype)
        each, _, figures = clipped_policy_loss(
            config, model.head, hidden, targets, batch.old_logprobs, batch.advantages
        )
        if config.value == "separate":
            return each.sum(), figures
        values = ppo_value_loss(
            head_of(model)(hidden).float()[:, 0], batch.old_values, batch.returns, config.value_clip
        ).sum()
        return each.sum() + config.value_coef * values, {**figures, "value_loss": float(values.detach())}

    return loss


def value_loss(config: PpoConfig, dtype: torch.dtype) -> Any:
    def loss(model: ScoringModel, batch: Minibatch) -> tuple[Tensor, dict[str, float]]:
        hidden = hidden_states(model.model, batch.packed, dtype)[batch.packed.weights != 0]
        each = ppo_value_loss(values_of(model, hidden), batch.old_values, batch.returns, config.value_clip)
        return each.sum(), {}

    return loss


class PpoRun:
    """The four models of PPO and one iteration over them."""

    def __init__(
        self,
        config: PpoConfig,
        start: Path,
        reward: Path | Sequence[Path],
        prompts: Sequence[Prompt],
        seed: int,
        world: World,
        rehearse: Sequence[Demonstration] = (),
    ) -> None:
        if rehearse and not config.ptx_coef:
            raise ConfigError(
                "demonstrations to rehearse weigh nothing with ppo.ptx_coef=0; raise it or leave them out"
            )
        refuse_small_minibatches(config.rollouts, config.minibatches, world.size, "ppo.rollouts", "ppo.minibatches")
        self.config, self.seed, self.world = config, seed, world
        self.kl_coef = config.kl_coef
        self.dtype = compute_dtype(config.precision, world.device)
        checkpoint = load_checkpoint(start)
        self.policy = adapt(checkpoint.model, config.lora, seed) if config.lora.rank else checkpoint.model
        # An adapted policy holds the reference's weights itself.
        self.reference = self.policy if config.lora.rank else load_decoder(start, device=world.device)
        self.judges = load_judges(reward, config.ensemble, start).to(world.device)
        self.value_model, self.value_trainer = self._values(reward if isinstance(reward, Path) else reward[0])
        self.policy_trainer = Trainer(world.trained(self.policy), config, world=world)
        self.engine = Engine(
            self.policy,
            checkpoint.tokenizer,
            checkpoint.template,
            max_batch=min(config.rollouts, roomy_batch(self.policy.shape, world.device)),
            weights=rollout_weights(self.dtype),
        )
        fitting = fitting_prompts(checkpoint.template, prompts, self.engine.context, config.max_tokens)
        self.prompts = [tokens for _, tokens in fitting]
        self.too_long = len(prompts) - len(fitting)
        width = min(config.sequence, self.policy.shape.context)
        self.rehearsed = prepare(checkpoint.template, rehearse, width)
        known = self.rehearsed.examples
        if rehearse and not known:
            raise InputError(
                f"none of the {len(rehearse)} demonstrations to rehearse has an answer within {width} tokens; raise "
                "ppo.sequence"
            )
        per_step, micro = max(world.size, config.ptx_tokens // width), max(1, config.micro_tokens // width)
        self.rehearsals = packed_batches([known], [], width, per_step, micro, seed, world)[1] if known else None

    def _values(self, reward: Path) -> tuple[Valuer, Trainer | None]:
        """What gives values to states, and its trainer where it is a network of its own."""
        if self.config.value == "shared":
            return SharedValue(self.policy), None
        model = load_scoring(reward)
        return model, Trainer(self.world.trained(model), self.config, world=self.world)

    @property
    def trainers(self) -> dict[str, Trainer]:
        alone = {"value": self.value_trainer} if self.value_trainer else {}
        return {"policy": self.policy_trainer, **alone}

    def refresh(self) -> None:
        """What samples and what gives values take over what was learned, where training shards it."""
        self.policy_trainer.refresh(self.policy)
        if self.value_trainer and isinstance(self.value_model, ScoringModel):
            self.value_trainer.refresh(self.value_model)

    def iterate(self, iteration: int) -> tuple[Rollouts, dict[str, float]]:
        """One iteration; figures are means over its answers or actions."""
        config = self.config
        started = time.monotonic()
        chosen = deal(len(self.prompts), config.rollouts, iteration, self.seed)
        rollouts = collect(
            self.engine, self.reference, self.judges, self.value_model, [self.prompts[i] for i in chosen],
            config, seeds(self.seed, iteration, config.rollouts), self.kl_coef, self.dtype,
        )  # fmt: skip
        collected = time.monotonic()
        reports = self._update(rollouts, iteration)
        self.refresh()
        values, returns = rollouts.values[rollouts.mask != 0], rollouts.returns[rollouts.mask != 0]
        lengths = rollouts.mask.sum(-1)
        figures = {
            "reward": float(rollouts.scores.mean()),
            "kl": rollouts.kl_per_answer,
            "kl_coef": self.kl_coef,
            "mismatch": reports[0]["mismatch"],
            "entropy": rollouts.entropy,
            "length": float(lengths.mean()),
            "ended": float(rollouts.ended.float().mean()),
            **({"disagreement": float(rollouts.disagreement.mean())} if len(self.judges.models) > 1 else {}),
            "value_explained": 1.0 - float((returns - values).var() / returns.var().clamp(min=1e-8)),
            **{key: float(np.mean([r[key] for r in reports])) for key in reports[0] if key != "mismatch"},
            "tokens_per_second": float(lengths.sum()) / (time.monotonic() - started),
            "collect_seconds": collected - started,
        }
        if config.kl_target:
            self.kl_coef = next_kl_coef(
                self.kl_coef, rollouts.kl_per_answer, config.kl_target, config.rollouts, config.kl_horizon
            )
        return rollouts, figures

    def _update(self, rollouts: Rollouts, iteration: int) -> list[dict[str, float]]:
        config = self.config
        width = packed_width(rollouts.examples, config)
        progress = (iteration + 0.5) / config.iterations
        size = -(-config.rollouts // config.minibatches)
        reports = []
        for epoch in range(config.epochs):
            order = deal(config.rollouts, config.rollouts, iteration * config.epochs + epoch, self.seed + 1)
            for at in range(0, config.rollouts, size):
                mine = order[at : at + size][self.world.rank :: self.world.size].tolist()
                parts = pieces(rollouts, mine, config.micro_tokens)
                batches = [minibatch(rollouts, part, width, self.world.device) for part in parts]
                weight = float(sum(len(b.returns) for b in batches))
                mixed = [*batches, *self._rehearse(self.policy_trainer.step_number, weight)]
                report = self.policy_trainer.step(mixed, policy_loss(config, self.dtype), weight, progress)
                figures = {"loss": report.loss, **report.figures}
                if self.value_trainer:
                    values = self.value_trainer.step(batches, value_loss(config, self.dtype), weight, progress)
                    figures["value_loss"] = values.loss
                reports.append(figures)
        return reports

    def _rehearse(self, step: int, weight: float) -> list[Rehearsal]:
        """Demonstrations for the step beside answers of `weight` actions; their gradients add up before it is taken."""
        if self.rehearsals is None:
            return []
        batches, words = self.rehearsals(step)
        actions, words = self.world.sum([weight, words])
        if not words:  # every demonstration of this step has weight 0
            return []
        return [Rehearsal(packed, self.config.ptx_coef * actions / words) for packed in batches]


def run(
    config: PpoConfig,
    start: Path,
    reward: Path | Sequence[Path],
    prompts: Sequence[Prompt],
    out: Path,
    progress: Progress,
    *,
    seed: int,
    parents: dict[str, str],
    rehearse: Sequence[Demonstration] = (),
    world: World | None = None,
    sample: Any = None,
    check: GoldCheck | None = None,
) -> Artefact:
    """Aligns the SFT model in `start` to the reward model in `reward`, or to several, on `prompts`, into `out`.

    `rehearse` are the demonstrations of PPO-ptx; without them it is plain PPO. With a `check` gold is measured on the
    way; where it falls while the reward rises, the run ends and the weights that were best by gold are taken.
    """
    ppo = PpoRun(config, start, reward, prompts, seed, world or World(), rehearse)
    monitor = GoldMonitor(check, config, ppo.engine, prompts) if check else None
    state = out / STATE_FOLDER
    saved = load_state(state, ppo.trainers) or {}
    ppo.refresh()
    curve: list[dict[str, float]] = list(saved.get("curve", []))
    ppo.kl_coef = saved.get("kl_coef", config.kl_coef)
    step = saved.get("step", 0)
    if monitor:
        monitor.resume(saved)
    with progress.stage("ppo", config.iterations, prompts=len(ppo.prompts)) as stage:
        _warn_of_left_out(stage, ppo)
        stopped = _look(monitor, ppo, step, state, stage)
        while step < config.iterations and not stopped:
            rollouts, figures = ppo.iterate(step)
            step += 1
            curve.append({"step": step, **figures})
            stage.advance(step, **figures)
            looked = monitor is not None and monitor.due(step)
            stopped = _look(monitor, ppo, step, state, stage)
            if looked or step % config.checkpoint_every == 0 or step == config.iterations:
                gold = [m.to_json() for m in monitor.history] if monitor else []
                save_state(state, step, ppo.trainers, curve=curve, kl_coef=ppo.kl_coef, gold=gold)
                if monitor and ppo.world.main:
                    drop_others(state, monitor.verdict.best)
            if step % config.evaluate_every == 0 or step == config.iterations:
                _show(stage, ppo, rollouts, sample)
        if monitor and stopped:
            restore_best(state, monitor.verdict.best, ppo.policy_trainer)
            stage.warn(monitor.report()["said"])
    figures = {**_outcome(curve, monitor), "iterations": step, "curve": curve,
               "skipped_steps": sum(t.skipped for t in ppo.trainers.values()),
               "seconds": round(sum(t.seconds for t in ppo.trainers.values()), 2)}  # fmt: skip

    def save(weights: dict[str, Tensor]) -> None:
        kept = {name: t for name, t in weights.items() if not name.startswith(HEAD)}
        save_tuned(out, start, kept, config.lora)

    return finish_model(
        out, ppo.policy_trainer, save, kind="ppo", name="ppo", parents=parents, config=config.model_dump(), seed=seed,
        figures=figures, source=source_of([*prompts, *rehearse]),
    )  # fmt: skip


def _look(monitor: GoldMonitor | None, ppo: PpoRun, step: int, state: Path, stage: Stage) -> bool:
    """Measures gold where it is due, keeps the weights if they are the best; whether the run is to stop here."""
    if monitor is None:
        return False
    if monitor.due(step):
        known = monitor.verdict.alarms if monitor.history else {}
        monitor.measure(step, ppo.engine, ppo.reference, ppo.judges, ppo.seed, ppo.dtype)
        if monitor.tell(stage, known).best == step and ppo.world.main:
            keep_best(state, step, {name: p.detach() for name, p in ppo.policy.named_parameters()})
    return bool(ppo.world.largest(int(monitor.verdict.action == "stop")))


def _warn_of_left_out(stage: Stage, ppo: PpoRun) -> None:
    if ppo.too_long:
        stage.warn(f"{ppo.too_long} prompts leave no room for an answer and were left out")
    if ppo.rehearsed.cut or ppo.rehearsed.dropped:
        stage.warn(f"of the demonstrations to rehearse {ppo.rehearsed.cut} lost their last turns and "
                   f"{ppo.rehearsed.dropped} were dropped whole, being longer than ppo.sequence")  # fmt: skip


def _show(stage: Stage, ppo: PpoRun, rollouts: Rollouts, sample: Any) -> None:
    stage.metrics(reward=float(rollouts.scores.mean()), kl=rollouts.kl_per_answer)
    if sample:
        sample(stage, ppo.policy)


def _outcome(curve: list[dict[str, float]], monitor: GoldMonitor | None) -> dict[str, Any]:
    """Figures of the model that was kept: of its last rollouts, or, where the monitor stopped the run, as measured."""
    last = {key: curve[-1][key] for key in ("reward", "kl", "length", "ended")} if curve else {}
    if monitor is None:
        return last
    report = monitor.report()
    if report["stopped"]:
        best = next(row for row in report["curve"] if row["step"] == report["best_iteration"])
        last = {"reward": best["proxy"], **{key: best[key] for key in ("kl", "length", "ended")}}
    return {**last, "monitor": report}
