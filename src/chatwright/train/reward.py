"""The reward model: a number per answer, learned from rankings.

All K answers to one prompt are one batch element (Ouyang et al. 2022, eq. 1): K forward passes give K(K-1)/2
comparisons, and no answer is seen more than once per epoch; the prompt, and whatever else the answers begin with, is
read once. Where annotators ticked a rubric too (helpful, true, safe, clear), a second head learns its marks on the way:
a mark tells more of an answer than the noisy order of two, and the trunk is shared (Wang et al. 2024, HelpSteer2). The
head is thrown away; the order alone makes the reward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chatwright.config import RewardConfig
from chatwright.errors import InputError
from chatwright.machine import compute_dtype
from chatwright.model.chat import ChatTemplate
from chatwright.model.checkpoint import load_shape, load_template
from chatwright.model.packing import Example, Packed, deal, pack_groups
from chatwright.model.tokenizer import Tokenizer
from chatwright.progress import Progress
from chatwright.records import Comparison
from chatwright.train.answers import answer_example
from chatwright.train.distributed import World
from chatwright.train.loop import Plan, Trainer, finish_model, run_plan
from chatwright.train.losses import ranking_loss
from chatwright.train.reward_audit import JudgedPair, audit
from chatwright.train.scoring import ScoringModel, from_decoder, save_scoring
from chatwright.train.sft import source_of
from chatwright.workspace import STATE_FOLDER, Artefact


@dataclass(frozen=True, slots=True)
class Group:
    """One prompt with its K rendered answers and the pairs (better, worse) among them."""

    answers: list[list[int]]
    """Prompt and answer with its end token: what a reward model reads, in training and ever after."""
    pairs: list[tuple[int, int]]
    labels: list[float]
    """Of each pair the probability that its order is right: 1 but for soft labels."""
    weight: float
    annotator: str = ""
    skill: str = ""
    marks: tuple[dict[str, float], ...] = ()
    """Of the rubric, an answer each; empty where none were given."""

    @property
    def tokens(self) -> int:
        return sum(len(a) for a in self.answers)


@dataclass(frozen=True, slots=True)
class GroupBatch:
    """Several groups in one packed batch. Every pair weighs weight / (number of pairs of its prompt); `labels`, P, are
    the probabilities that the pairs' order is right.

    `marks` are the rubric's, standardised, N R, nan where an answer has none; None without a rubric. `shares` are what
    an answer weighs, N: its prompt's weight / (number of its answers).
    """

    packed: Packed
    pairs: Tensor
    labels: Tensor
    weights: Tensor
    prompts: float
    marks: Tensor | None
    shares: Tensor


@dataclass(frozen=True, slots=True)
class Rubric:
    """The names of the marks, and their mean and deviation over the training answers."""

    names: tuple[str, ...]
    means: tuple[float, ...]
    stds: tuple[float, ...]

    @staticmethod
    def of(groups: Sequence[Group]) -> Rubric | None:
        names = tuple(sorted({name for g in groups for marks in g.marks for name in marks}))
        given = [[m[n] for g in groups for m in g.marks if n in m] for n in names]
        means = tuple(sum(v) / len(v) for v in given)
        stds = tuple(
            max((sum((x - mean) ** 2 for x in v) / len(v)) ** 0.5, 1e-6) for v, mean in zip(given, means, strict=True)
        )
        return Rubric(names, means, stds) if names else None

    def standardised(self, group: Group) -> list[list[float]]:
        """K R."""
        marks = group.marks or ({},) * len(group.answers)
        rows = zip(self.names, self.means, self.stds, strict=True)
        columns = [[(m[n] - mean) / std if n in m else math.nan for m in marks] for n, mean, std in rows]
        return [list(row) for row in zip(*columns, strict=True)]


def groups_of(template: ChatTemplate, comparisons: Sequence[Comparison], limit: int) -> tuple[list[Group], int]:
    """Comparisons with at least one labelled pair as groups; also how many were left out as tied or too long."""
    groups = []
    for comparison in comparisons:
        answers = [list(answer_example(template, comparison.prompt, r).tokens) for r in comparison.responses]
        labelled = comparison.labelled_pairs()
        if labelled and max(map(len, answers)) <= limit:
            pairs, labels = [(better, worse) for better, worse, _ in labelled], [label for *_, label in labelled]
            groups.append(
                Group(answers, pairs, labels, comparison.weight, comparison.annotator, comparison.skill,
                      comparison.scores)
            )  # fmt: skip
    return groups, len(comparisons) - len(groups)


def split(comparisons: Sequence[Comparison], fraction: float) -> tuple[list[Comparison], list[Comparison]]:
    """(training, held out), by a hash of the prompt, so that one prompt never stands on both sides."""
    from chatwright.records import content_id

    def held(comparison: Comparison) -> bool:
        return int(content_id([m.to_json() for m in comparison.prompt], 8), 16) < fraction * 16**8

    return [c for c in comparisons if not held(c)], [c for c in comparisons if held(c)]


def batch_groups(groups: Sequence[Group], width: int, rubric: Rubric | None = None) -> GroupBatch:
    examples = [Example(a, [0.0] * len(a)) for g in groups for a in g.answers]
    pairs, labels, weights, shares, marks, members, first = [], [], [], [], [], [], 0
    for group in groups:
        labels += group.labels
        pairs += [(first + better, first + worse) for better, worse in group.pairs]
        weights += [group.weight / len(group.pairs)] * len(group.pairs)
        shares += [group.weight / len(group.answers)] * len(group.answers)
        marks += rubric.standardised(group) if rubric else []
        members.append(range(first, first + len(group.answers)))
        first += len(group.answers)
    packed = pack_groups(examples, members, width)
    return GroupBatch(
        packed, torch.tensor(pairs), torch.tensor(labels), torch.tensor(weights), sum(g.weight for g in groups),
        torch.tensor(marks) if rubric else None, torch.tensor(shares),
    )  # fmt: skip


def reward_loss(center: float, dtype: torch.dtype, rubric_coef: float = 0.0) -> Any:
    def loss(model: ScoringModel, batch: GroupBatch) -> tuple[Tensor, dict[str, float]]:
        hidden = model.final_hidden(batch.packed, dtype)
        scores = model.score(hidden).float()[:, 0]
        pairs, labels, weights = (t.to(scores.device) for t in (batch.pairs, batch.labels, batch.weights))
        total = ranking_loss(scores, pairs, weights, center, labels)
        in_order = scores[pairs[:, 0]] > scores[pairs[:, 1]]
        figures = {"accuracy": float((torch.where(in_order, labels, 1 - labels) * weights).sum())}
        if model.rubric is not None and batch.marks is not None:
            marks, shares = batch.marks.to(scores.device), batch.shares.to(scores.device)
            errors = (model.rubric(hidden).float() - marks.nan_to_num()) ** 2 * marks.isfinite()
            rubric = (errors.sum(-1) / marks.isfinite().sum(-1).clamp(min=1) * shares).sum()
            total = total + rubric_coef * rubric
            figures["rubric_error"] = float(rubric.detach())
        return total, figures

    return loss


@torch.no_grad()
def judge(model: ScoringModel, groups: Sequence[Group], width: int, dtype: torch.dtype) -> list[JudgedPair]:
    """Every pair of `groups` with the margin between its two scores, before any normalisation.

    Of a soft label the likelier order counts; one of 1/2 has none and is left out.
    """
    judged = []
    for group in groups:
        scores = model.final_scores(batch_groups([group], width).packed, dtype).tolist()
        judged += [
            JudgedPair(
                scores[b] - scores[w], len(group.answers[b]) - len(group.answers[w]), group.annotator, group.skill
            )
            for (b, w), label in zip(group.pairs, group.labels, strict=True)
            if label != 0.5
        ]
    return judged


def run(
    config: RewardConfig,
    start: Path,
    comparisons: Sequence[Comparison],
    out: Path,
    progress: Progress,
    *,
    seed: int,
    parents: dict[str, str],
    world: World | None = None,
) -> Artefact:
    """Trains a reward model from the SFT model in `start`. Scores are shifted and scaled so that the answers it
    was trained on have mean 0 and standard deviation 1; both numbers are stored in the folder."""
    world = world or World()
    dtype = compute_dtype(config.precision, world.device)
    tokenizer = Tokenizer.load(start / "tokenizer.json")
    template = load_template(start, tokenizer)
    width = load_shape(start).context
    training, held = split(comparisons, config.holdout_fraction)
    groups, left_out = groups_of(template, training, width)
    if not groups:
        raise InputError("no comparison has two answers of different rank that fit into the context")
    held_groups, _ = groups_of(template, held, width)
    rubric = Rubric.of(groups) if config.rubric_coef else None
    model = from_decoder(start, seed, rubric=len(rubric.names) if rubric else 0)
    trainer = Trainer(world.trained(model), config, world=world)
    mean_tokens = sum(g.tokens for g in groups) / len(groups)
    per_step = max(world.size, round(config.batch_tokens / mean_tokens))
    micro = max(1, round(config.micro_tokens / mean_tokens))
    steps = max(1, round(config.epochs * len(groups) / per_step))
    pack_width = max(config.sequence, max(len(a) for g in (*groups, *held_groups) for a in g.answers))

    def batches(step: int) -> tuple[list[GroupBatch], float]:
        mine = deal(len(groups), per_step, step, seed)[world.rank :: world.size]
        made = [batch_groups([groups[i] for i in mine[at : at + micro]], pack_width, rubric)
                for at in range(0, len(mine), micro)]  # fmt: skip
        return made, sum(b.prompts for b in made)

    def evaluate() -> dict[str, float]:
        trainer.refresh(model)
        judged = judge(model, held_groups, pack_width, dtype)
        return {"pair_accuracy": sum(p.margin > 0 for p in judged) / len(judged)} if judged else {}

    with progress.stage("reward", steps, comparisons=len(comparisons)) as stage:
        if left_out:
            stage.note(f"{left_out} comparisons are tied or too long and teach nothing")
        if not held_groups:
            stage.warn("no ranked comparison is held out, so pair accuracy is not measured; give more comparisons")
        plan = Plan(steps, batches, reward_loss(config.center, dtype, config.rubric_coef), evaluate,
                    tokens_per_step=round(per_step * mean_tokens))  # fmt: skip
        curve = run_plan(trainer, plan, out / STATE_FOLDER, stage)
    trainer.refresh(model)
    mean, std = normalisation(model, groups, pack_width, dtype)
    audited = audit(judge(model, held_groups, pack_width, dtype))
    figures = {
        "pair_accuracy": curve[-1].get("pair_accuracy"), "heldout_pairs": sum(len(g.pairs) for g in held_groups),
        "comparisons": len(groups), "left_out": left_out, "mean": mean, "std": std, "steps": trainer.step_number,
        "seconds": round(trainer.seconds, 2), "curve": curve, "audit": audited,
    }  # fmt: skip
    return finish_model(
        out, trainer, lambda state: save_scoring(out, start, state, mean, std), kind="reward", name="reward",
        parents=parents, config=config.model_dump(), seed=seed, figures=figures, source=source_of(comparisons),
    )  # fmt: skip


@torch.no_grad()
def normalisation(model: ScoringModel, groups: Sequence[Group], width: int, dtype: torch.dtype) -> tuple[float, float]:
    """Mean and standard deviation of the raw scores over all answers of `groups`."""
    chunks = [batch_groups(groups[at : at + 16], width).packed for at in range(0, len(groups), 16)]
    scores = torch.cat([model.final_scores(packed, dtype) for packed in chunks]).double()
    return float(scores.mean()), float(scores.std().clamp(min=1e-6))
