"""One batch of experience: answers, their scores, and everything an update needs, as plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chatwright.config import PpoConfig, RolloutConfig
from chatwright.engine import Completion, Engine, Request, SamplingParams
from chatwright.model.chat import ChatTemplate
from chatwright.model.decoder import Decoder
from chatwright.model.logprobs import token_logprobs
from chatwright.model.lora import unadapted
from chatwright.model.packing import Example, passes, predicted
from chatwright.train.advantages import gae, token_rewards, whiten
from chatwright.train.answers import end_of_answer
from chatwright.train.judges import Judges
from chatwright.train.values import Valuer, action_values, scatter


@dataclass(frozen=True, slots=True)
class Sampled:
    """N answers with T = the longest one's actions; arrays N T are 0 beyond each answer's own length.

    `examples` hold prompt and answer, weighted on the answer; `logprobs` are those the sampler drew with, `reference`
    the SFT model's.
    """

    examples: list[Example]
    completions: list[Completion]
    logprobs: Tensor
    reference: Tensor
    mask: Tensor

    @property
    def ended(self) -> Tensor:
        """Whether each answer came to its end, N."""
        return torch.tensor([c.finish_reason == "stop" for c in self.completions])

    @property
    def kl(self) -> Tensor:
        """sum_t log pi - log ref of each answer, N, in nats: the estimator k1, which may be below 0."""
        return ((self.logprobs - self.reference) * self.mask).sum(-1)

    @property
    def kl_per_answer(self) -> float:
        """The mean of `kl`: an unbiased estimate that may dip below 0."""
        return float(self.kl.mean())

    @property
    def entropy(self) -> float:
        """Nats a token: the mean surprise of what was drawn, an unbiased estimate at no cost."""
        return -float((self.logprobs * self.mask).sum() / self.mask.sum())


@dataclass(frozen=True, slots=True)
class Scored(Sampled):
    """Answers with their rewards, N: `scores`, a missing end already paid for, and how far the judges are apart."""

    scores: Tensor
    disagreement: Tensor


@dataclass(frozen=True, slots=True)
class Rollouts(Scored):
    """Answers with what PPO makes of them, N T."""

    values: Tensor
    advantages: Tensor
    returns: Tensor


def sample_answers(
    engine: Engine, prompts: Sequence[tuple[int, ...]], config: RolloutConfig, seeds: Sequence[int]
) -> list[Completion]:
    """Answers drawn from the whole distribution: no top_k or top_p, which would bias the ratios of the update."""
    return engine.generate(
        [
            Request(p, SamplingParams(max_tokens=config.max_tokens, temperature=config.temperature, seed=s))
            for p, s in zip(prompts, seeds, strict=True)
        ]
    )


@torch.no_grad()
def action_logprobs(
    model: Decoder, examples: Sequence[Example], config: RolloutConfig, width: int, steps: int, dtype: torch.dtype
) -> Tensor:
    """Log-probability of each action at the rollout temperature, N T."""
    out = torch.zeros(len(examples), steps)
    for order, batch in passes(examples, width, config.micro_tokens):
        hidden, targets, _ = predicted(model, batch.to(str(model.head.device)), dtype)
        logprobs = token_logprobs(hidden, model.head, targets, config.temperature)
        scatter(out, order, examples, logprobs.cpu())
    return out


def draw_answers(
    engine: Engine,
    reference: Decoder,
    prompts: Sequence[tuple[int, ...]],
    config: RolloutConfig,
    seeds: Sequence[int],
    dtype: torch.dtype,
) -> Sampled:
    """One answer to each of `prompts` with its log-probabilities under the policy and the reference.

    Those of the policy are the sampler's own: the answers were drawn with them and nothing else. They are float32 and
    equal the training forward to 1e-5 (tested); one in bfloat16 is off by its rounding, which the update reports.
    The policy has learned since the last answers, in place: the engine takes its weights anew.
    """
    engine.swap(engine.model)
    completions = sample_answers(engine, prompts, config, seeds)
    examples = [
        Example((*p, *c.tokens), [0.0] * len(p) + [1.0] * len(c.tokens))
        for p, c in zip(prompts, completions, strict=True)
    ]
    lengths = torch.tensor([len(c.tokens) for c in completions])
    steps, width = int(lengths.max()), packed_width(examples, config)
    mask = (torch.arange(steps) < lengths[:, None]).float()
    logprobs = torch.zeros(len(examples), steps)
    for row, completion in enumerate(completions):
        logprobs[row, : len(completion.logprobs)] = torch.tensor(completion.logprobs)
    with unadapted(reference):
        reference_logprobs = action_logprobs(reference, examples, config, width, steps, dtype)
    return Sampled(examples, completions, logprobs, reference_logprobs, mask)


def packed_width(examples: Sequence[Example], config: RolloutConfig) -> int:
    """Tokens in a row of packed answers: `sequence`, or the longest of them."""
    return max(config.sequence, max(len(e.tokens) for e in examples))


def closed(whole: Sequence[int], completion: Completion, end: int) -> tuple[int, ...]:
    """Prompt and answer as a reward model reads them: it has only ever seen answers with an end, so one is added."""
    return tuple(whole) if completion.finish_reason == "stop" else (*whole, end)


def judged(
    judges: Judges, sampled: Sampled, template: ChatTemplate, config: RolloutConfig, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """(normalised rewards N before any penalty, disagreement of the judges N)."""
    end = end_of_answer(template)
    read = [closed([*e.tokens], c, end) for e, c in zip(sampled.examples, sampled.completions, strict=True)]
    return judges.score(read, dtype, config.micro_tokens)


def penalised(scores_N: Tensor, sampled: Sampled, config: RolloutConfig) -> Tensor:
    """Scores less the price of a missing end, where it is missing."""
    return scores_N - config.missing_end_penalty * (~sampled.ended).float()


def answer_and_score(
    engine: Engine,
    reference: Decoder,
    judges: Judges,
    prompts: Sequence[tuple[int, ...]],
    config: PpoConfig,
    seeds: Sequence[int],
    dtype: torch.dtype,
) -> Scored:
    """Samples an answer to each prompt and scores it; a missing end costs a penalty."""
    sampled = draw_answers(engine, reference, prompts, config, seeds, dtype)
    scores, disagreement = judged(judges, sampled, engine.template, config, dtype)
    return Scored(
        sampled.examples, sampled.completions, sampled.logprobs, sampled.reference, sampled.mask,
        penalised(scores, sampled, config), disagreement,
    )  # fmt: skip


def collect(
    engine: Engine,
    reference: Decoder,
    judges: Judges,
    value: Valuer,
    prompts: Sequence[tuple[int, ...]],
    config: PpoConfig,
    seeds: Sequence[int],
    kl_coef: float,
    dtype: torch.dtype,
) -> Rollouts:
    """Samples answers, scores them and computes advantages.

    An answer that was cut pays for its missing end, or, with `cut="bootstrap"`, goes on in the value after its last
    token: it then earns no score of its own.
    """
    said = answer_and_score(engine, reference, judges, prompts, config, seeds, dtype)
    width, steps = packed_width(said.examples, config), said.mask.shape[1]
    values, after = action_values(value, said.examples, config, width, steps, dtype)
    scores, goes_on = said.scores, None
    if config.cut == "bootstrap":
        scores, goes_on = said.scores * said.ended, after * ~said.ended
    rewards = token_rewards(said.logprobs, said.reference, scores, said.mask, kl_coef)
    advantages, returns = gae(rewards, values, said.mask, config.gamma, config.gae_lambda, goes_on)
    return Rollouts(
        said.examples, said.completions, said.logprobs, said.reference, said.mask, said.scores, said.disagreement,
        values, whiten(advantages, said.mask), returns,
    )  # fmt: skip
