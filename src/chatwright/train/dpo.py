"""Direct preference optimisation and its family: the policy learns from pairs without a reward model or rollouts.

Rafailov et al. 2023; the losses stand in `preference_losses.py`. All answers to one prompt are read once and compared
in every pair they stand in. The log-probabilities of the reference (the SFT model) are computed once, before training;
losses that need none leave it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chatwright.config import DpoConfig
from chatwright.errors import InputError
from chatwright.machine import compute_dtype
from chatwright.model.chat import ChatTemplate
from chatwright.model.checkpoint import load_checkpoint, save_descendant
from chatwright.model.decoder import Decoder
from chatwright.model.logprobs import token_logprobs
from chatwright.model.packing import Example, Packed, best_fit, deal, pack, passes, predicted
from chatwright.progress import Progress
from chatwright.records import Comparison
from chatwright.train.answers import answer_example
from chatwright.train.distributed import World
from chatwright.train.loop import Plan, Trainer, finish_model, run_plan
from chatwright.train.preference_losses import USUAL_BETA, WITHOUT_REFERENCE, Side, preference_loss
from chatwright.train.sft import source_of
from chatwright.workspace import STATE_FOLDER, Artefact


@dataclass(frozen=True, slots=True)
class Group:
    """One prompt's answers, `first` to `first + count - 1` of the set, and the pairs (better, worse) among them."""

    first: int
    count: int
    pairs: list[tuple[int, int]]
    weight: float


@dataclass(frozen=True, slots=True)
class PreferenceSet:
    """All answers as examples (loss on the answer and its end), grouped by prompt."""

    answers: list[Example]
    groups: list[Group]

    @property
    def pairs(self) -> int:
        return sum(len(g.pairs) for g in self.groups)


@dataclass(frozen=True, slots=True)
class PairBatch:
    """The answers of several prompts, packed once each, whatever number of pairs they stand in.

    `reference` holds a log-probability per answer, N; `pairs` indexes of (better, worse), P 2; `weights`, P, share
    the weight of a prompt among its pairs.
    """

    packed: Packed
    reference: Tensor
    pairs: Tensor
    weights: Tensor


def preference_set(template: ChatTemplate, comparisons: Sequence[Comparison], limit: int) -> PreferenceSet:
    """Every comparison with an untied pair whose answers fit into `limit` tokens."""
    made = PreferenceSet([], [])
    for comparison in comparisons:
        answers = [answer_example(template, comparison.prompt, r) for r in comparison.responses]
        pairs = comparison.pairs()
        if pairs and max(len(a.tokens) for a in answers) <= limit:
            made.groups.append(Group(len(made.answers), len(answers), pairs, comparison.weight))
            made.answers.extend(answers)
    if not made.groups:
        raise InputError("no comparison has two answers of different rank that fit into the context")
    return made


def batch_groups(data: PreferenceSet, chosen: Sequence[Group], reference: Tensor, width: int) -> PairBatch:
    """The batch of the groups `chosen`."""
    indexes = [i for g in chosen for i in range(g.first, g.first + g.count)]
    pairs, weights, first = [], [], 0
    for group in chosen:
        pairs += [(first + better, first + worse) for better, worse in group.pairs]
        weights += [group.weight / len(group.pairs)] * len(group.pairs)
        first += group.count
    examples = [data.answers[i] for i in indexes]
    packed = pack(examples, best_fit([len(e.tokens) for e in examples], width))
    return PairBatch(packed, reference[torch.tensor(indexes)], torch.tensor(pairs), torch.tensor(weights))


def sequence_logprobs(model: Decoder, batch: Packed, dtype: torch.dtype) -> Tensor:
    """Log-probability of the weighted tokens of each packed sequence, summed, N."""
    hidden, targets, _ = predicted(model, batch, dtype)
    logprobs, _ = token_logprobs(hidden, model.head, targets)
    owner = batch.documents[batch.weights != 0]
    return torch.zeros(len(batch.rows), device=logprobs.device).index_add(0, owner, logprobs)


@torch.no_grad()
def reference_logprobs(
    model: Decoder, answers: Sequence[Example], width: int, micro_tokens: int, dtype: torch.dtype, device: str
) -> Tensor:
    out = torch.empty(len(answers))
    for order, batch in passes(answers, width, micro_tokens):
        out[torch.tensor(order)] = sequence_logprobs(model, batch.to(device), dtype).cpu()
    return out


def pair_loss(config: DpoConfig, dtype: torch.dtype) -> Any:
    """The loss `config.loss` of a batch, summed over pairs with their weights."""
    beta = config.beta or USUAL_BETA[config.loss]

    def loss(model: Decoder, batch: PairBatch) -> tuple[Tensor, dict[str, float]]:
        logprobs = sequence_logprobs(model, batch.packed, dtype)
        owner = batch.packed.documents[batch.packed.weights != 0]
        lengths = owner.bincount(minlength=len(logprobs)).to(logprobs.dtype)
        better, worse = (Side(logprobs[i], batch.reference[i], lengths[i]) for i in batch.pairs.unbind(1))
        each, margin = preference_loss(
            config.loss, better, worse, beta=beta, label_smoothing=config.label_smoothing, margin=config.margin
        )
        figures = {"accuracy": (margin > 0).float(), "margin": margin}
        if config.loss not in WITHOUT_REFERENCE:
            figures["chosen_logp_change"] = better.gain.detach()
        return (each * batch.weights).sum(), {k: float((v * batch.weights).sum()) for k, v in figures.items()}

    return loss


def run(
    config: DpoConfig,
    start: Path,
    comparisons: Sequence[Comparison],
    out: Path,
    progress: Progress,
    *,
    seed: int,
    parents: dict[str, str],
    world: World | None = None,
    sample: Any = None,
) -> Artefact:
    """Trains the model in `start` on the pairs of `comparisons` into `out`."""
    world = world or World()
    dtype = compute_dtype(config.precision, world.device)
    checkpoint = load_checkpoint(start)
    policy = checkpoint.model
    trainer = Trainer(policy, config, world=world)
    data = preference_set(checkpoint.template, comparisons, policy.shape.context)
    width = max(config.sequence, max(len(a.tokens) for a in data.answers))
    reference = torch.zeros(len(data.answers))
    if config.loss not in WITHOUT_REFERENCE:
        # The policy before its first step: loaded again, since a resumed policy has moved on.
        model = load_checkpoint(start, device=world.device).model
        reference = reference_logprobs(model, data.answers, width, config.micro_tokens, dtype, world.device)
        del model
    tokens = sum(len(a.tokens) for a in data.answers) / len(data.groups)
    per_step = max(world.size, round(config.batch_tokens / tokens))
    micro = max(1, round(config.micro_tokens / tokens))
    steps = max(1, round(config.epochs * len(data.groups) / per_step))

    def batches(step: int) -> tuple[list[PairBatch], float]:
        mine = [data.groups[i] for i in deal(len(data.groups), per_step, step, seed)[world.rank :: world.size]]
        made = [batch_groups(data, mine[at : at + micro], reference, width) for at in range(0, len(mine), micro)]
        placed = [PairBatch(b.packed.to(world.device), *(t.to(world.device) for t in (b.reference, b.pairs, b.weights)))
                  for b in made]  # fmt: skip
        return placed, float(sum(b.weights.sum() for b in placed))

    with progress.stage("dpo", steps, pairs=data.pairs) as stage:
        sampler = (lambda: sample(stage, policy)) if sample else None
        plan = Plan(steps, batches, pair_loss(config, dtype), None, sampler,
                    tokens_per_step=round(per_step * tokens))  # fmt: skip
        curve = run_plan(trainer, plan, out / STATE_FOLDER, stage)
    figures = {"pairs": data.pairs, "steps": trainer.step_number, "seconds": round(trainer.seconds, 2),
               "skipped_steps": trainer.skipped, "curve": curve}  # fmt: skip
    return finish_model(
        out, trainer, lambda state: save_descendant(out, start, state), kind="dpo", name="dpo", parents=parents,
        config=config.model_dump(), seed=seed, figures=figures, source=source_of(comparisons),
    )  # fmt: skip
