"""Where PPO's values come from: a network of its own that began as the reward model, or a head on the policy's trunk.

A network of its own knows good from bad at the first step and cannot disturb the policy; a head saves a fifth of the
time and a third of the memory for weights and moments, and its gradient reaches the policy's trunk (Schulman et al.
2017, eq. 9).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from chatwright.config import PpoConfig
from chatwright.errors import ConfigError
from chatwright.model.decoder import Decoder, Linear, Trunk
from chatwright.model.packing import Example, hidden_states, passes

HEAD = "value_head"
"""Its name among the policy's modules; it belongs to the run and is not saved with the model."""


class Valuer(Protocol):
    """What gives a value to a state: (score of the hidden state - mean) / std."""

    model: Trunk
    score: Linear
    mean: float
    std: float


class SharedValue:
    """A linear head on the policy's trunk. It starts at zero: nothing is expected until something was seen."""

    def __init__(self, policy: Decoder) -> None:
        head = Linear(policy.shape.width, 1, bias=False)
        nn.init.zeros_(head.weight)
        policy.add_module(HEAD, head.to(policy.head.device))
        self.model, self.score = policy.model, head
        self.mean, self.std = 0.0, 1.0


def head_of(policy: nn.Module) -> Linear:
    """The value head of a policy that shares its trunk."""
    head = getattr(policy, HEAD, None)
    if not isinstance(head, Linear):
        raise ConfigError("this policy has no value head; set ppo.value=separate")
    return head


def values_of(valuer: Valuer, hidden_ND: Tensor) -> Tensor:
    return (valuer.score(hidden_ND).float()[:, 0] - valuer.mean) / valuer.std


@torch.no_grad()
def action_values(
    valuer: Valuer, examples: Sequence[Example], config: PpoConfig, width: int, steps: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """(value of the state before each action N T, value of the state after the last one N), in normalised reward."""
    out, after = torch.zeros(len(examples), steps), torch.zeros(len(examples))
    for order, batch in passes(examples, width, config.micro_tokens):
        placed = batch.to(str(valuer.score.weight.device))
        hidden = hidden_states(valuer.model, placed, dtype)
        scatter(out, order, examples, values_of(valuer, hidden[placed.weights != 0]).cpu())
        after[torch.tensor(order)] = values_of(valuer, hidden[placed.ends]).cpu()
    return out, after


def scatter(out_NT: Tensor, order: Sequence[int], examples: Sequence[Example], flat: Tensor) -> None:
    """Deals a flat list of per-action numbers, in packed order, back to the answers."""
    lengths = [int(sum(examples[i].weights)) for i in order]
    for index, part in zip(order, flat.split(lengths), strict=True):
        out_NT[index, : len(part)] = part
