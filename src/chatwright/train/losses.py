"""Losses as pure functions. Each says its equation, its source and how it is aggregated."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def ranking_loss(
    rewards_N: Tensor, pairs_P2: Tensor, weights_P: Tensor, center: float = 0.0, labels_P: Tensor | None = None
) -> Tensor:
    """sum_p w_p [-l_p log sigmoid(d_p) - (1 - l_p) log sigmoid(-d_p) + center (r_better + r_worse)^2].

    d = r_better - r_worse. With w = 1/(number of pairs of the prompt) and labels l of 1 this is the K-wise loss of
    Ouyang et al. 2022, eq. 1, summed over prompts. A label below 1 is the probability that the order is right (a soft
    label; Bai et al. 2022, Constitutional AI, section 4.1). The last
    term keeps rewards near zero, which the loss alone leaves free (Eisenstein et al. 2023).
    """
    better, worse = rewards_N[pairs_P2[:, 0]], rewards_N[pairs_P2[:, 1]]
    loss = -F.logsigmoid(better - worse)
    if labels_P is not None:
        loss = labels_P * loss - (1 - labels_P) * F.logsigmoid(worse - better)
    if center:
        loss = loss + center * (better + worse) ** 2
    return (loss * weights_P).sum()


def ppo_policy_loss(
    logprobs_N: Tensor, old_logprobs_N: Tensor, advantages_N: Tensor, clip_range: float
) -> tuple[Tensor, Tensor]:
    """(loss per action N, ratio N): -min(ratio A, clip(ratio, 1-e, 1+e) A). Schulman et al. 2017, eq. 7.

    The log-ratio is clamped to +-20 before the exponential, so that one stray token cannot overflow.
    """
    ratio = (logprobs_N - old_logprobs_N).clamp(-20.0, 20.0).exp()
    clipped = ratio.clamp(1.0 - clip_range, 1.0 + clip_range)
    return -torch.minimum(ratio * advantages_N, clipped * advantages_N), ratio.detach()


def ppo_value_loss(values_N: Tensor, old_values_N: Tensor, returns_N: Tensor, clip_range: float) -> Tensor:
    """Per action N: 0.5 max((V - R)^2, (clip(V, V_old +- e) - R)^2)."""
    clipped = old_values_N + (values_N - old_values_N).clamp(-clip_range, clip_range)
    return 0.5 * torch.maximum((values_N - returns_N) ** 2, (clipped - returns_N) ** 2)
