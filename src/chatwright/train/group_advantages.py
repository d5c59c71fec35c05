"""Advantages without a value model: an answer is measured against the other answers to the same prompt.

Pure functions. Axes: N prompts, K answers to each (K >= 2), M = N K answers, A actions of a packed minibatch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chatwright.config import Aggregation, GroupMethod

EPSILON = 1e-4
"""Added to a group's deviation, in units of reward, so that groups which agree almost wholly are not blown up."""

USUAL_AGGREGATION: dict[GroupMethod, Aggregation] = {"rloo": "constant", "grpo": "sequence", "dr_grpo": "constant"}


def group_advantages(method: GroupMethod, rewards_NK: Tensor) -> Tensor:
    """Advantages N K of rewards N K; a group whose rewards are all equal gets exactly 0.

    - rloo: r_i minus the mean of the others (Kool et al. 2019; Ahmadian et al. 2024);
    - grpo: (r_i - mean) / (std + 1e-4) with the sample deviation, over K - 1 (Shao et al. 2024, section 4.1);
    - dr_grpo: r_i - mean (Liu et al. 2025), which is rloo times (K - 1) / K.
    """
    centred = rewards_NK - rewards_NK.mean(-1, keepdim=True)
    centred = centred.masked_fill(without_variance(rewards_NK)[:, None], 0.0)  # rounding left in the mean
    if method == "grpo":
        return centred / (rewards_NK.std(-1, keepdim=True) + EPSILON)
    answers = rewards_NK.shape[-1]
    return centred * (answers / (answers - 1)) if method == "rloo" else centred


def without_variance(rewards_NK: Tensor) -> Tensor:
    """Which groups have answers that are all rewarded alike, N: they say nothing of which answer was better."""
    return (rewards_NK == rewards_NK[:, :1]).all(-1)


def priced_advantages(method: GroupMethod, rewards_NK: Tensor, kl_NK: Tensor, kl_coef: float) -> Tensor:
    """Advantages N K where `kl_NK` (nats an answer, log pi - log ref) was taken off the reward at `kl_coef`.

    For rloo and dr_grpo these are the advantages of r - kl_coef KL. grpo divides the rewards alone by their deviation
    and prices KL after it, as it does in the loss: a group whose rewards agree would otherwise see the little noise
    between its KLs blown up to the size of a reward.
    """
    baseline = "dr_grpo" if method == "grpo" else method
    return group_advantages(method, rewards_NK) - kl_coef * group_advantages(baseline, kl_NK)


def action_weights(aggregation: Aggregation, lengths_M: Tensor, max_tokens: int) -> tuple[Tensor, float]:
    """(what one action of each answer weighs, M; what the sum over all actions is to be divided by).

    - token: the mean over actions, so that long answers weigh more (Yu et al. 2025, DAPO);
    - sequence: the mean over answers of each one's mean over its actions (Shao et al. 2024, eq. 3), under which an
      action of a long wrong answer costs less than one of a short wrong answer;
    - constant: the mean over answers of sum / max_tokens, blind to length (Liu et al. 2025). Up to that
      constant it is the gradient of log p(answer) as a whole, the one of RLOO.
    """
    lengths = lengths_M if lengths_M.is_floating_point() else lengths_M.float()
    if aggregation == "token":
        return torch.ones_like(lengths), float(lengths.sum())
    if aggregation == "sequence":
        return 1.0 / lengths, float(len(lengths))
    return torch.full_like(lengths, 1.0 / max_tokens), float(len(lengths))


def k3(logprobs_A: Tensor, reference_A: Tensor) -> Tensor:
    """Per action exp(log ref - log pi) - (log ref - log pi) - 1: at least 0, in mean KL(pi | ref) (Schulman 2020).

    That holds for its value. As a term of the loss its gradient is not that of KL(pi | ref) but, on answers drawn from
    pi, that of KL(ref | pi) action by action (Shah et al. 2025, arXiv:2512.21852; a test holds it). The log-ratio is
    clamped to +-20 before the exponential, so that one stray token cannot overflow.
    """
    ratio = (reference_A - logprobs_A).clamp(-20.0, 20.0)
    return ratio.exp() - ratio - 1.0
