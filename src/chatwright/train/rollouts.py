"""One batch of PPO experience: answers, their scores, and everything the update needs, as plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chatwright.config import PpoConfig
from chatwright.engine import Completion, Engine, Request, SamplingParams
from chatwright.model.decoder import Decoder
from chatwright.model.logprobs import token_logprobs
from chatwright.model.packing import Example, hidden_states, passes, predicted
from chatwright.train.advantages import gae, token_rewards, whiten
from chatwright.train.answers import end_of_answer
from chatwright.train.judges import Judges
from chatwright.train.scoring import ScoringModel


@dataclass(frozen=True, slots=True)
class Answers:
    """N answers with T = the longest one's actions; arrays N T are 0 beyond each answer's own length.

    `scores` are rewards, a missing end already paid for; `disagreement` is how far the reward models are apart.
    """

    examples: list[Example]
    completions: list[Completion]
    scores: Tensor
    disagreement: Tensor
    logprobs: Tensor
    reference: Tensor
    mask: Tensor

    @property
    def kl_per_answer(self) -> float:
        """Mean over answers of sum_t log pi - log ref, in nats: an unbiased estimate that may dip below 0."""
        return float(((self.logprobs - self.reference) * self.mask).sum(-1).mean())

    @property
    def ended(self) -> float:
        return sum(c.finish_reason == "stop" for c in self.completions) / len(self.completions)


@dataclass(frozen=True, slots=True)
class Rollouts(Answers):
    """Answers with everything the update needs, N T."""

    values: Tensor
    advantages: Tensor
    returns: Tensor


def sample_answers(
    engine: Engine, prompts: Sequence[tuple[int, ...]], config: PpoConfig, seeds: Sequence[int]
) -> list[Completion]:
    """Answers drawn from the whole distribution: no top_k or top_p, which would bias the ratios of PPO."""
    return engine.generate(
        [
            Request(p, SamplingParams(max_tokens=config.max_tokens, temperature=config.temperature, seed=s))
            for p, s in zip(prompts, seeds, strict=True)
        ]
    )


@torch.no_grad()
def action_logprobs(
    model: Decoder, examples: Sequence[Example], config: PpoConfig, width: int, steps: int, dtype: torch.dtype
) -> Tensor:
    """Log-probability of each action at the rollout temperature, N T."""
    out = torch.zeros(len(examples), steps)
    for order, batch in passes(examples, width, config.micro_tokens):
        hidden, targets, _ = predicted(model, batch.to(str(model.head.device)), dtype)
        logprobs, _ = token_logprobs(hidden, model.head, targets, config.temperature)
        _scatter(out, order, examples, logprobs.cpu())
    return out


@torch.no_grad()
def action_values(
    model: ScoringModel, examples: Sequence[Example], config: PpoConfig, width: int, steps: int, dtype: torch.dtype
) -> Tensor:
    """Value of the state before each action, in units of normalised reward, N T."""
    out = torch.zeros(len(examples), steps)
    for order, batch in passes(examples, width, config.micro_tokens):
        hidden = hidden_states(model.model, batch.to(str(model.score.weight.device)), dtype)
        values = values_of(model, hidden[batch.weights != 0])
        _scatter(out, order, examples, values.cpu())
    return out


def values_of(model: ScoringModel, hidden_ND: Tensor) -> Tensor:
    return (model.score(hidden_ND).float()[:, 0] - model.mean) / model.std


def _scatter(out_NT: Tensor, order: Sequence[int], examples: Sequence[Example], flat: Tensor) -> None:
    """Deals a flat list of per-action numbers, in packed order, back to the answers."""
    lengths = [int(sum(examples[i].weights)) for i in order]
    for index, part in zip(order, flat.split(lengths), strict=True):
        out_NT[index, : len(part)] = part


def closed(whole: Sequence[int], completion: Completion, end: int) -> tuple[int, ...]:
    """Prompt and answer as a reward model reads them: it has only ever seen answers with an end, so one is added."""
    return tuple(whole) if completion.finish_reason == "stop" else (*whole, end)


def answer_and_score(
    engine: Engine,
    reference: Decoder,
    judges: Judges,
    prompts: Sequence[tuple[int, ...]],
    config: PpoConfig,
    seeds: Sequence[int],
    dtype: torch.dtype,
) -> Answers:
    """Samples an answer to each prompt and scores it; a missing end costs a penalty.

    In float32 the sampler's own log-probabilities serve as the old ones (they equal the training forward to 1e-5,
    tested); in bfloat16 they are recomputed with the training forward.
    """
    completions = sample_answers(engine, prompts, config, seeds)
    whole = [(*p, *c.tokens) for p, c in zip(prompts, completions, strict=True)]
    examples = [
        Example(w, [0.0] * (len(w) - len(c.tokens)) + [1.0] * len(c.tokens))
        for w, c in zip(whole, completions, strict=True)
    ]
    lengths = torch.tensor([len(c.tokens) for c in completions])
    steps = int(lengths.max())
    mask = (torch.arange(steps) < lengths[:, None]).float()
    width = max(config.sequence, max(len(e.tokens) for e in examples))
    end = end_of_answer(engine.template)
    read = [closed(w, c, end) for w, c in zip(whole, completions, strict=True)]
    scores, disagreement = judges.score(read, dtype, config.micro_tokens)
    endless = torch.tensor([c.finish_reason != "stop" for c in completions])
    scores = scores - config.missing_end_penalty * endless.float()
    if dtype == torch.float32:
        logprobs = torch.zeros(len(examples), steps)
        for row, completion in enumerate(completions):
            logprobs[row, : len(completion.logprobs)] = torch.tensor(completion.logprobs)
    else:
        logprobs = action_logprobs(engine.model, examples, config, width, steps, dtype)
    reference_logprobs = action_logprobs(reference, examples, config, width, steps, dtype)
    return Answers(examples, completions, scores, disagreement, logprobs, reference_logprobs, mask)


def collect(
    engine: Engine,
    reference: Decoder,
    judges: Judges,
    value: ScoringModel,
    prompts: Sequence[tuple[int, ...]],
    config: PpoConfig,
    seeds: Sequence[int],
    kl_coef: float,
    dtype: torch.dtype,
) -> Rollouts:
    """Samples answers, scores them and computes advantages."""
    said = answer_and_score(engine, reference, judges, prompts, config, seeds, dtype)
    width = max(config.sequence, max(len(e.tokens) for e in said.examples))
    values = action_values(value, said.examples, config, width, said.mask.shape[1], dtype)
    rewards = token_rewards(said.logprobs, said.reference, said.scores, said.mask, kl_coef)
    advantages, returns = gae(rewards, values, said.mask, config.gamma, config.gae_lambda)
    return Rollouts(
        said.examples, said.completions, said.scores, said.disagreement, said.logprobs, said.reference, said.mask,
        values, whiten(advantages, said.mask), returns,
    )  # fmt: skip
