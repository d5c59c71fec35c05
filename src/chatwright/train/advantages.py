"""From rewards and values to advantages. Pure functions on padded arrays; N rollouts, T actions.

`mask_NT` is 1 on actions (the end token included) and 0 after the last one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def token_rewards(
    logprobs_NT: Tensor, reference_NT: Tensor, scores_N: Tensor, mask_NT: Tensor, kl_coef: float
) -> Tensor:
    """-kl_coef (log pi - log ref) on every action, plus the score on the last one. Ouyang et al. 2022, eq. 2."""
    rewards = -kl_coef * (logprobs_NT - reference_NT) * mask_NT
    last = mask_NT.sum(-1).long() - 1
    rewards[torch.arange(len(scores_N)), last] += scores_N
    return rewards


def gae(
    rewards_NT: Tensor, values_NT: Tensor, mask_NT: Tensor, gamma: float, lam: float, after_N: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimates and returns (advantage + value). Schulman et al. 2016, eq. 16.

    Episodes end with their last action: the value behind it is 0, whatever the arrays hold there, or that of `after_N`
    where an episode was cut and would have gone on.
    """
    rewards, values = rewards_NT * mask_NT, values_NT * mask_NT
    advantages = torch.zeros_like(rewards)
    running = torch.zeros_like(rewards[:, 0])
    following = torch.zeros_like(running) if after_N is None else after_N
    for t in range(rewards.shape[1] - 1, -1, -1):
        delta = rewards[:, t] + gamma * following - values[:, t]
        running = (delta + gamma * lam * running) * mask_NT[:, t]
        following = torch.where(mask_NT[:, t] != 0, values[:, t], following)
        advantages[:, t] = running
    return advantages, (advantages + values) * mask_NT


def whiten(values_NT: Tensor, mask_NT: Tensor) -> Tensor:
    """Mean 0 and standard deviation 1 over the masked entries of the whole batch (population variance)."""
    count = mask_NT.sum().clamp(min=1)
    mean = (values_NT * mask_NT).sum() / count
    variance = ((values_NT - mean) ** 2 * mask_NT).sum() / count
    return (values_NT - mean) * (variance + 1e-8).rsqrt() * mask_NT


def next_kl_coef(coef: float, kl: float, target: float, answers: int, horizon: int) -> float:
    """The adaptive price of KL after `answers` answers that departed by `kl` nats each.

    coef (1 + clip(kl / target - 1, -0.2, 0.2) K): dearer where the policy is further away than `target` (Ziegler et al.
    2019, section 2.2, with K = 0.1). K is answers / horizon, at most 1, so that the price stays above 0. A KL that is
    not finite says nothing and changes nothing.
    """
    if not math.isfinite(kl):
        return coef
    error = min(max(kl / target - 1.0, -0.2), 0.2)
    return coef * (1.0 + error * min(1.0, answers / horizon))
