"""What PPO and the group methods share around an optimiser step: prompts that fit, minibatches, the clipped objective.

Axes: N answers, T actions of the longest one, A actions of a packed minibatch, in packed order.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from chatwright.config import RolloutConfig
from chatwright.errors import ConfigError, InputError
from chatwright.model.chat import ChatTemplate
from chatwright.model.logprobs import token_logprobs
from chatwright.model.packing import Packed, cheapest_rows, pack
from chatwright.records import Prompt
from chatwright.train.losses import ppo_policy_loss
from chatwright.train.rollouts import Sampled


def refuse_small_minibatches(rollouts: int, minibatches: int, ranks: int, raise_what: str, lower_what: str) -> None:
    """Raises ConfigError where some rank would get no answer of a minibatch, the smaller last one included."""
    size = -(-rollouts // minibatches)
    smallest = rollouts % size or size
    if smallest < ranks:
        raise ConfigError(
            f"a minibatch of {smallest} answers ({rollouts} in steps of {size}) is too small for {ranks} ranks; raise "
            f"{raise_what} or lower {lower_what}"
        )


def fitting_prompts(
    template: ChatTemplate, prompts: Sequence[Prompt], context: int, max_tokens: int
) -> list[tuple[Prompt, tuple[int, ...]]]:
    """The prompts that leave room for an answer of `max_tokens`, rendered; raises InputError where none does."""
    rendered = [(p, tuple(template.render(p.messages, add_generation_prompt=True).tokens)) for p in prompts]
    fitting = [(p, tokens) for p, tokens in rendered if len(tokens) <= context - max_tokens]
    if not fitting:
        raise InputError(f"no prompt leaves room for an answer of {max_tokens} tokens")
    return fitting


def pack_actions(
    sampled: Sampled, chosen: Sequence[int], arrays: Sequence[Tensor], width: int, device: str
) -> tuple[Packed, list[Tensor]]:
    """The answers `chosen`, packed, and each of `arrays` (N T) as one number per action, A."""
    examples = [sampled.examples[i] for i in chosen]
    rows = cheapest_rows([len(e.tokens) for e in examples], width)
    order = torch.tensor([chosen[i] for row in rows for i in row])
    actions = sampled.mask[order] != 0
    return pack(examples, rows).to(device), [array[order][actions].to(device) for array in arrays]


def pieces(sampled: Sampled, chosen: Sequence[int], micro_tokens: int) -> list[list[int]]:
    """`chosen` in pieces of at most about `micro_tokens` tokens."""
    parts: list[list[int]] = [[]]
    tokens = 0
    for index in chosen:
        length = len(sampled.examples[index].tokens)
        if parts[-1] and tokens + length > micro_tokens:
            parts.append([])
            tokens = 0
        parts[-1].append(index)
        tokens += length
    return parts


def clipped_policy_loss(
    config: RolloutConfig,
    head: Tensor,
    hidden: Tensor,
    targets: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
) -> tuple[Tensor, Tensor, dict[str, float]]:
    """(clipped loss A, log-probabilities A with their gradient, figures summed over the actions).

    `hidden` are the states A D before the actions `targets`.

    `mismatch` is how far the log-probabilities are from the old ones: before the first step of an iteration that is the
    difference between the sampler's forward pass and this one.
    """
    logprobs = token_logprobs(hidden, head, targets, config.temperature)
    each, ratio = ppo_policy_loss(logprobs, old_logprobs, advantages, config.clip_range)
    figures = {
        "clip_fraction": float(((ratio - 1.0).abs() > config.clip_range).float().sum()),
        "approx_kl": float((ratio - 1.0 - ratio.log()).sum()),
        "mismatch": float((logprobs.detach() - old_logprobs).abs().sum()),
    }
    return each, logprobs, figures
