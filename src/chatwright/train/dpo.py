"""Direct preference optimisation and its family: the policy learns from pairs without a reward model or rollouts.

Rafailov et al. 2023; the losses stand in `preference_losses.py`. All answers to one prompt are read once and compared
in every pair they stand in. The log-probabilities of the reference (the SFT model) are computed once, before training;
losses that need none leave it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from chatwright.config import DpoConfig
from chatwright.errors import InputError
from chatwright.files import atomic_writer
from chatwright.machine import compute_dtype
from chatwright.model.chat import ChatTemplate
from chatwright.model.checkpoint import checkpoint_files, load_checkpoint
from chatwright.model.decoder import Decoder
from chatwright.model.logprobs import token_logprobs
from chatwright.model.lora import adapt
from chatwright.model.packing import Example, Packed, cheapest_rows, deal, pack, pack_groups, passes, predicted
from chatwright.progress import Progress
from chatwright.records import Comparison, content_id
from chatwright.train.answers import answer_example
from chatwright.train.distributed import World
from chatwright.train.loop import Plan, Trainer, finish_model, run_plan, save_tuned
from chatwright.train.preference_losses import USUAL_BETA, WITHOUT_REFERENCE, Side, preference_loss
from chatwright.train.sft import source_of
from chatwright.workspace import STATE_FOLDER, Artefact, file_hash


@dataclass(frozen=True, slots=True)
class Group:
    """One prompt's answers, `first` to `first + count - 1` of the set, and the pairs among them: (better, worse,
    probability that this is their order)."""

    first: int
    count: int
    pairs: list[tuple[int, int, float]]
    weight: float


@dataclass(frozen=True, slots=True)
class PreferenceSet:
    """All answers as examples (loss on the answer and its end), grouped by prompt.

    `strangers` holds for each group an answer to another prompt behind its own prompt, where a loss asks for it.
    """

    answers: list[Example]
    groups: list[Group]
    strangers: list[Example]

    @property
    def pairs(self) -> int:
        return sum(len(g.pairs) for g in self.groups)


@dataclass(frozen=True, slots=True)
class PairBatch:
    """The answers of several prompts, each packed once behind a prompt that stands there once, whatever number of pairs
    they stand in.

    `reference` holds a log-probability per answer, N; `pairs` indexes of (better, worse), P 2; `weights`, P, share
    the weight of a prompt among its pairs; `baseline` is that of KTO for the whole step.
    """

    packed: Packed
    reference: Tensor
    pairs: Tensor
    weights: Tensor
    baseline: float = 0.0

    def to(self, device: str, baseline: float) -> PairBatch:
        return PairBatch(
            self.packed.to(device), self.reference.to(device), self.pairs.to(device), self.weights.to(device), baseline
        )


def preference_set(
    template: ChatTemplate, comparisons: Sequence[Comparison], limit: int, *, strangers: bool = False
) -> PreferenceSet:
    """Every comparison with an untied pair whose answers fit into `limit` tokens; with `strangers` for each of them."""
    made = PreferenceSet([], [], [])
    used: list[Comparison] = []
    for comparison in comparisons:
        answers = [answer_example(template, comparison.prompt, r) for r in comparison.responses]
        pairs = comparison.labelled_pairs()
        if pairs and max(len(a.tokens) for a in answers) <= limit:
            made.groups.append(Group(len(made.answers), len(answers), pairs, comparison.weight))
            made.answers.extend(answers)
            used.append(comparison)
    if not made.groups:
        raise InputError("no comparison has two answers of different rank that fit into the context")
    if strangers:
        made.strangers.extend(_strangers(template, used, limit))
    return made


def _strangers(template: ChatTemplate, comparisons: Sequence[Comparison], limit: int) -> list[Example]:
    """Behind each prompt the first answer to the next other prompt that fits."""
    made = []
    for i, comparison in enumerate(comparisons):
        others = (comparisons[(i + step) % len(comparisons)] for step in range(1, len(comparisons)))
        answers = (answer_example(template, comparison.prompt, other.responses[0]) for other in others
                   if other.prompt != comparison.prompt)  # fmt: skip
        found = next((a for a in answers if len(a.tokens) <= limit), None)
        if found is None:
            raise InputError("kto needs answers to at least two different prompts that fit into the context")
        made.append(found)
    return made


def batch_groups(data: PreferenceSet, chosen: Sequence[Group], reference: Tensor, width: int) -> PairBatch:
    """The batch of the groups `chosen`."""
    indexes = [i for g in chosen for i in range(g.first, g.first + g.count)]
    pairs, weights, members, first = [], [], [], 0
    for group in chosen:
        share = group.weight / len(group.pairs)
        for better, worse, right in group.pairs:
            # The expected loss under a soft label: both orders, each with its probability.
            pairs += [(first + better, first + worse), (first + worse, first + better)][: 1 if right == 1 else 2]
            weights += [share * right, share * (1 - right)][: 1 if right == 1 else 2]
        members.append(range(first, first + group.count))
        first += group.count
    packed = pack_groups([data.answers[i] for i in indexes], members, width)
    return PairBatch(packed, reference[torch.tensor(indexes)], torch.tensor(pairs), torch.tensor(weights))


def sequence_logprobs(model: Decoder, batch: Packed, dtype: torch.dtype) -> Tensor:
    """Log-probability of the weighted tokens of each packed sequence, summed, N."""
    hidden, targets, _ = predicted(model, batch, dtype)
    logprobs = token_logprobs(hidden, model.head, targets)
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


def cached_reference(
    start: Path, examples: Sequence[Example], width: int, micro_tokens: int, dtype: torch.dtype, world: World,
    cache: Path | None,
) -> Tensor:  # fmt: skip
    """Log-probabilities of the reference, N: read from the folder `cache`, or computed and left there.

    The key is made of the model's files, the tokens and their mask (and so of tokenizer, template and rows), the
    packing and the dtype. A file that is damaged or of another length is made again.
    """
    key = content_id([
        [(p.name, file_hash(p)) for p in checkpoint_files(start)],
        [(list(e.tokens), list(e.weights)) for e in examples], width, micro_tokens, str(dtype),
    ])  # fmt: skip
    path = cache / f"reference-{key}.safetensors" if cache else None
    if path is not None and path.exists():
        with suppress(SafetensorError, OSError, KeyError):
            found = load_file(path)["logprobs"]
            if len(found) == len(examples):
                return found
    # The policy before its first step: loaded again, since a resumed policy has moved on.
    model = load_checkpoint(start, device=world.device).model
    made = reference_logprobs(model, examples, width, micro_tokens, dtype, world.device)
    if path is not None and world.main:
        with atomic_writer(path) as handle:
            handle.write(save({"logprobs": made}))
    return made


def baseline(trainer: Trainer, examples: Sequence[Example], reference: Tensor, width: int, dtype: torch.dtype) -> float:
    """KTO's z: the mean gain over this step's prompts with answers to others, over all ranks, not below 0.

    An estimate of the policy's distance from the reference that needs no samples (Ethayarajh et al. 2024, section 4).
    """

    def gains(model: Decoder, batch: Packed) -> tuple[Tensor, dict[str, float]]:
        return sequence_logprobs(model, batch, dtype).sum(), {}

    packed = pack(examples, cheapest_rows([len(e.tokens) for e in examples], width)).to(trainer.world.device)
    total = float(trainer.measure(gains, packed)[0]) - float(reference.sum())
    total, count = trainer.world.sum([total, len(examples)])
    return max(0.0, total / count)


def pair_loss(config: DpoConfig, dtype: torch.dtype) -> Any:
    """The loss `config.loss` of a batch, summed over pairs with their weights."""
    beta = config.beta or USUAL_BETA[config.loss]

    def loss(model: Decoder, batch: PairBatch) -> tuple[Tensor, dict[str, float]]:
        logprobs = sequence_logprobs(model, batch.packed, dtype)
        owner = batch.packed.documents[batch.packed.weights != 0]
        lengths = owner.bincount(minlength=len(logprobs)).to(logprobs.dtype)
        better, worse = (Side(logprobs[i], batch.reference[i], lengths[i]) for i in batch.pairs.unbind(1))
        each, margin = preference_loss(
            config.loss, better, worse, beta=beta, label_smoothing=config.label_smoothing, margin=config.margin,
            baseline=batch.baseline,
        )  # fmt: skip
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
    cache: Path | None = None,
) -> Artefact:
    """Trains the model in `start` on the pairs of `comparisons` into `out`.

    Log-probabilities of the reference are kept in the folder `cache` for the next run on the same rows.
    """
    world = world or World()
    dtype = compute_dtype(config.precision, world.device)
    checkpoint = load_checkpoint(start)
    policy = adapt(checkpoint.model, config.lora, seed) if config.lora.rank else checkpoint.model
    trainer = Trainer(policy, config, world=world)
    data = preference_set(checkpoint.template, comparisons, policy.shape.context, strangers=config.loss == "kto")
    examples = [*data.answers, *data.strangers]
    width = max(config.sequence, max(len(a.tokens) for a in examples))
    everything = torch.zeros(len(examples))
    if config.loss not in WITHOUT_REFERENCE:
        everything = cached_reference(start, examples, width, config.micro_tokens, dtype, world, cache)
    reference, of_strangers = everything.split([len(data.answers), len(data.strangers)])
    tokens = sum(len(a.tokens) for a in data.answers) / len(data.groups)
    per_step = max(world.size, round(config.batch_tokens / tokens))
    micro = max(1, round(config.micro_tokens / tokens))
    steps = max(1, round(config.epochs * len(data.groups) / per_step))

    def batches(step: int) -> tuple[list[PairBatch], float]:
        chosen = deal(len(data.groups), per_step, step, seed)[world.rank :: world.size].tolist()
        mine = [data.groups[i] for i in chosen]
        made = [batch_groups(data, mine[at : at + micro], reference, width) for at in range(0, len(mine), micro)]
        moved = 0.0
        if data.strangers:
            moved = baseline(trainer, [data.strangers[i] for i in chosen], of_strangers[chosen], width, dtype)
        placed = [batch.to(world.device, moved) for batch in made]
        return placed, float(sum(b.weights.sum() for b in placed))

    with progress.stage("dpo", steps, pairs=data.pairs) as stage:
        sampler = (lambda: sample(stage, policy)) if sample else None
        plan = Plan(steps, batches, pair_loss(config, dtype), None, sampler,
                    tokens_per_step=round(per_step * tokens))  # fmt: skip
        curve = run_plan(trainer, plan, out / STATE_FOLDER, stage)
    figures = {"pairs": data.pairs, "steps": trainer.step_number, "seconds": round(trainer.seconds, 2),
               "skipped_steps": trainer.skipped, "curve": curve}  # fmt: skip
    return finish_model(
        out, trainer, lambda state: save_tuned(out, start, state, config.lora), kind="dpo", name="dpo", parents=parents,
        config=config.model_dump(), seed=seed, figures=figures, source=source_of(comparisons),
    )  # fmt: skip
