"""Reinforcement learning without a value model: RLOO, GRPO and Dr.GRPO.

An iteration samples K answers to each of a few prompts, rewards them by a reward model or a verifier, measures every
answer against its own group (`group_advantages.py`) and takes clipped steps as PPO does. The SFT model stays near
through KL, in the loss or in the reward. A run is a pure function of its inputs and seed, as far as its rewards are:
killed between iterations, it goes on to the same bits.
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

from chatwright.config import EnsembleConfig, GrpoConfig
from chatwright.engine import Engine, seeds
from chatwright.engine.choose import rollout_weights
from chatwright.engine.core import roomy_batch
from chatwright.errors import InputError
from chatwright.machine import compute_dtype
from chatwright.model.checkpoint import load_checkpoint, load_decoder
from chatwright.model.decoder import Decoder
from chatwright.model.lora import adapt
from chatwright.model.packing import Packed, deal, predicted
from chatwright.progress import Progress
from chatwright.records import Prompt
from chatwright.train.distributed import World
from chatwright.train.group_advantages import (
    USUAL_AGGREGATION,
    action_weights,
    group_advantages,
    k3,
    priced_advantages,
    without_variance,
)
from chatwright.train.judges import Judges, load_judges
from chatwright.train.loop import StepReport, Trainer, finish_model, load_state, save_state, save_tuned
from chatwright.train.policy_steps import (
    clipped_policy_loss,
    fitting_prompts,
    pack_actions,
    pieces,
    refuse_small_minibatches,
)
from chatwright.train.rollouts import Sampled, draw_answers, judged, packed_width, penalised
from chatwright.train.sft import source_of
from chatwright.train.verifiers import Verifier
from chatwright.workspace import STATE_FOLDER, Artefact


@dataclass(frozen=True, slots=True)
class GroupRollouts(Sampled):
    """Answers in groups: the K of one prompt stand one behind the other. Per answer, N: score, advantage."""

    scores: Tensor
    advantages: Tensor


@dataclass(frozen=True, slots=True)
class GroupMinibatch:
    """Packed answers and, per action in packed order, what the loss needs."""

    packed: Packed
    old_logprobs: Tensor
    reference: Tensor
    advantages: Tensor
    weights: Tensor


def group_loss(config: GrpoConfig, dtype: torch.dtype) -> Any:
    """sum of weight (clipped loss + kl_coef k3), where KL is in the loss; figures are sums over actions."""
    kl_coef = config.kl_coef if config.kl_in == "loss" else 0.0

    def loss(model: Decoder, batch: GroupMinibatch) -> tuple[Tensor, dict[str, float]]:
        hidden, targets, _ = predicted(model, batch.packed, dtype)
        each, logprobs, figures = clipped_policy_loss(
            config, model.head, hidden, targets, batch.old_logprobs, batch.advantages
        )
        if kl_coef:
            each = each + kl_coef * k3(logprobs, batch.reference)
        return (each * batch.weights).sum(), {**figures, "actions": float(len(batch.weights))}

    return loss


class GrpoRun:
    """The policy, its reference, what rewards it, and one iteration over them.

    `reward` is the folder of a reward model or a verifier.
    """

    def __init__(
        self, config: GrpoConfig, start: Path, reward: Path | Verifier, prompts: Sequence[Prompt], seed: int,
        world: World,
    ) -> None:  # fmt: skip
        refuse_small_minibatches(config.rollouts, config.minibatches, world.size, "grpo.prompts", "grpo.minibatches")
        self.config, self.seed, self.world = config, seed, world
        self.dtype = compute_dtype(config.precision, world.device)
        usable = list(prompts) if isinstance(reward, Path) else [p for p in prompts if reward.usable(p)]
        if prompts and not usable:
            raise InputError(
                f"none of the {len(prompts)} prompts carries what the verifier checks; give each row an answer or tests"
            )
        checkpoint = load_checkpoint(start)
        self.template = checkpoint.template
        self.policy = adapt(checkpoint.model, config.lora, seed) if config.lora.rank else checkpoint.model
        # An adapted policy holds the reference's weights itself.
        self.reference = self.policy if config.lora.rank else load_decoder(start, device=world.device)
        self.reward: Judges | Verifier = (
            load_judges(reward, EnsembleConfig(), start).to(world.device) if isinstance(reward, Path) else reward
        )
        self.trainer = Trainer(world.trained(self.policy), config, world=world)
        slots = min(config.rollouts, roomy_batch(self.policy.shape, world.device))
        self.engine = Engine(
            self.policy,
            checkpoint.tokenizer,
            checkpoint.template,
            max_batch=slots,
            weights=rollout_weights(self.dtype),
        )
        self.prompts = fitting_prompts(checkpoint.template, usable, self.engine.context, config.max_tokens)
        self.unusable, self.too_long = len(prompts) - len(usable), len(usable) - len(self.prompts)

    def iterate(self, iteration: int) -> tuple[GroupRollouts, dict[str, float]]:
        """One iteration; figures are means over its answers, actions or groups."""
        started = time.monotonic()
        rollouts = self._collect(iteration)
        collected = time.monotonic()
        reports = self._update(rollouts, iteration)
        self.trainer.refresh(self.policy)
        groups = rollouts.scores.view(-1, self.config.answers)
        lengths = rollouts.mask.sum(-1)
        actions = sum(r.figures["actions"] * r.weight for r in reports)
        figures = {
            "reward": float(rollouts.scores.mean()),
            "no_variance": float(without_variance(groups).float().mean()),
            "kl": rollouts.kl_per_answer,
            "entropy": rollouts.entropy,
            "length": float(lengths.mean()),
            "ended": float(rollouts.ended.float().mean()),
            "loss": float(np.mean([r.loss for r in reports])) if reports else 0.0,
            **{
                key: sum(r.figures[key] * r.weight for r in reports) / actions if reports else 0.0
                for key in ("clip_fraction", "approx_kl")
            },
            **({"mismatch": reports[0].figures["mismatch"] / reports[0].figures["actions"]} if reports else {}),
            "steps": float(len(reports)),
            "tokens_per_second": float(lengths.sum()) / (time.monotonic() - started),
            "collect_seconds": collected - started,
        }
        return rollouts, figures

    def _collect(self, iteration: int) -> GroupRollouts:
        config = self.config
        chosen = deal(len(self.prompts), config.prompts, iteration, self.seed)
        asked = [self.prompts[i] for i in chosen for _ in range(config.answers)]
        sampled = draw_answers(
            self.engine, self.reference, [tokens for _, tokens in asked], config,
            seeds(self.seed, iteration, len(asked)), self.dtype,
        )  # fmt: skip
        scores = penalised(self._scores(sampled, [p for p, _ in asked]), sampled, config)
        groups, kl = scores.view(-1, config.answers), sampled.kl.view(-1, config.answers)
        priced = config.kl_coef if config.kl_in == "reward" else 0.0
        advantages = (
            priced_advantages(config.method, groups, kl, priced) if priced else group_advantages(config.method, groups)
        )
        return GroupRollouts(
            sampled.examples, sampled.completions, sampled.logprobs, sampled.reference, sampled.mask,
            scores, advantages.flatten(),
        )  # fmt: skip

    def _scores(self, sampled: Sampled, prompts: Sequence[Prompt]) -> Tensor:
        if isinstance(self.reward, Judges):
            return judged(self.reward, sampled, self.template, self.config, self.dtype)[0]
        texts = [c.text.strip() for c in sampled.completions]
        # The first rank's word counts: a test that nearly runs out of time may pass on one rank and fail on another.
        given = self.reward(prompts, texts) if self.world.main else [0.0] * len(texts)
        return torch.tensor(self.world.sum(given), dtype=torch.float32)

    def _update(self, rollouts: GroupRollouts, iteration: int) -> list[StepReport]:
        """Optimiser steps over the answers; a minibatch that has nothing to teach makes none.

        Muon's steps do not depend on the gradient's length: a step without any gradient would be a whole step in an
        old direction.
        """
        config = self.config
        progress = (iteration + 0.5) / config.iterations
        size = -(-config.rollouts // config.minibatches)
        reports = []
        for epoch in range(config.epochs):
            order = deal(config.rollouts, config.rollouts, iteration * config.epochs + epoch, self.seed + 1)
            for at in range(0, config.rollouts, size):
                mine = order[at : at + size][self.world.rank :: self.world.size].tolist()
                batches, weight, teaching = self._minibatches(rollouts, mine)
                if self.world.sum([float(teaching)])[0]:
                    reports.append(self.trainer.step(batches, group_loss(config, self.dtype), weight, progress))
        return reports

    def _minibatches(self, rollouts: GroupRollouts, mine: list[int]) -> tuple[list[GroupMinibatch], float, int]:
        """(packed answers of `mine`, what their weighted sum is divided by, how many have a gradient).

        Answers without a gradient (their group agrees, and no KL is in the loss) are not read again, but the divisor
        counts them, so that leaving them out changes the time and not the step.
        """
        config = self.config
        lengths = rollouts.mask.sum(-1)
        aggregation = config.aggregation or USUAL_AGGREGATION[config.method]
        each, divisor = action_weights(aggregation, lengths[mine], config.max_tokens)
        weights = torch.zeros_like(lengths)
        weights[mine] = each
        held = config.kl_coef and config.kl_in == "loss"
        taught = [i for i in mine if held or rollouts.advantages[i]]
        spread = [array[:, None].expand_as(rollouts.mask) for array in (rollouts.advantages, weights)]
        arrays = [rollouts.logprobs, rollouts.reference, *spread]
        width, device = packed_width(rollouts.examples, config), self.world.device
        # At least one, without weight: every rank goes along with the others' steps.
        parts = pieces(rollouts, taught or [0], config.micro_tokens)
        packed = [pack_actions(rollouts, part, arrays, width, device) for part in parts]
        return [GroupMinibatch(batch, *flat) for batch, flat in packed], divisor, len(taught)


def run(
    config: GrpoConfig,
    start: Path,
    reward: Path | Verifier,
    prompts: Sequence[Prompt],
    out: Path,
    progress: Progress,
    *,
    seed: int,
    parents: dict[str, str],
    world: World | None = None,
    sample: Any = None,
) -> Artefact:
    """Trains the SFT model in `start` on `prompts`, rewarded by a reward model's folder or a verifier, into `out`."""
    grpo = GrpoRun(config, start, reward, prompts, seed, world or World())
    state, trainers = out / STATE_FOLDER, {"policy": grpo.trainer}
    saved = load_state(state, trainers) or {}
    grpo.trainer.refresh(grpo.policy)
    curve: list[dict[str, float]] = list(saved.get("curve", []))
    with progress.stage("grpo", config.iterations, prompts=len(grpo.prompts), method=config.method) as stage:
        if grpo.unusable:
            stage.warn(f"{grpo.unusable} prompts carry nothing that can be checked and were left out")
        if grpo.too_long:
            stage.warn(f"{grpo.too_long} prompts leave no room for an answer and were left out")
        for iteration in range(saved.get("step", 0), config.iterations):
            _, figures = grpo.iterate(iteration)
            last = iteration + 1 == config.iterations
            curve.append({"step": iteration + 1, **figures})
            stage.advance(iteration + 1, **figures)
            if (iteration + 1) % config.checkpoint_every == 0 or last:
                save_state(state, iteration + 1, trainers, curve=curve)
            if (iteration + 1) % config.evaluate_every == 0 or last:
                stage.metrics(reward=figures["reward"], kl=figures["kl"], no_variance=figures["no_variance"])
                if sample:
                    sample(stage, grpo.policy)
    told = ("reward", "no_variance", "kl", "entropy", "length", "ended")
    figures = {**{key: curve[-1][key] for key in told}, "iterations": config.iterations,
               "prompts": len(grpo.prompts), "unusable": grpo.unusable, "too_long": grpo.too_long,
               "skipped_steps": grpo.trainer.skipped, "curve": curve,
               "seconds": round(grpo.trainer.seconds, 2)}  # fmt: skip
    return finish_model(
        out, grpo.trainer, lambda weights: save_tuned(out, start, weights, config.lora), kind="grpo", name="grpo",
        parents=parents, config=config.model_dump(), seed=seed, figures=figures, source=source_of(prompts),
    )  # fmt: skip
