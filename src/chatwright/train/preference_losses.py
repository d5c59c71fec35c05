"""The DPO family: what a pair of answers teaches, as pure functions of sequence log-probabilities.

Every loss takes the better and the worse answers of P pairs and returns (loss P, margin P). The margin is the
difference of what the loss takes for the reward of the two: above 0 the policy orders the pair as the annotator did.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from chatwright.config import PreferenceLoss

USUAL_BETA: dict[PreferenceLoss, float] = {
    "dpo": 0.1,
    "robust": 0.1,
    "ipo": 0.1,
    "norm": 5.0,
    "simpo": 2.0,
    "orpo": 0.1,
    "kto": 0.1,
}
WITHOUT_REFERENCE: frozenset[PreferenceLoss] = frozenset({"simpo", "orpo"})


class Side(NamedTuple):
    """One side of P pairs: log-probabilities summed over the answer with its end token, by the policy and by the
    reference, and the number of those tokens."""

    logprobs: Tensor
    reference: Tensor
    lengths: Tensor

    @property
    def gain(self) -> Tensor:
        """log pi - log ref of the whole answer."""
        return self.logprobs - self.reference

    @property
    def mean(self) -> Tensor:
        """log pi per token."""
        return self.logprobs / self.lengths


def preference_loss(
    kind: PreferenceLoss,
    better: Side,
    worse: Side,
    *,
    beta: float,
    label_smoothing: float = 0.0,
    margin: float = 0.0,
    baseline: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """(loss P, margin P) of the loss `kind`.

    dpo: -(1-e) log s(m) - e log s(-m), m = beta [gain_w - gain_l]. Rafailov et al. 2023, eq. 7; e > 0 is cDPO
        (Mitchell 2023): a share e of the labels is taken to be wrong.
    robust: [-(1-e) log s(m) + e log s(-m)] / (1 - 2e), unbiased under flips. Chowdhury et al. 2024, eq. 7.
    ipo: (d - 1/(2 beta))^2, d the difference of the gains per token. Azar et al. 2023, eq. 17; per token as its authors
        asked for.
    norm: dpo with gains per token; beta near 5. Lambert et al. 2024 (Tulu 3), section 5.1.2.
    simpo: -log s(beta (mean_w - mean_l) - margin), without a reference; beta near 2, margin 0.3 to 0.5 of it. Meng et
        al. 2024, eq. 6.
    orpo: -mean_w - beta log s(log odds ratio), odds of the mean probability of a token, without a reference: learns to
        answer and to prefer at once. Hong et al. 2024, eq. 6 and 7.
    kto: the mean of 1 - s(beta (gain_w - z)) and 1 - s(beta (z - gain_l)), where z, `baseline`, is how far the policy
        has moved in general, never below 0: each answer is judged good or bad by itself. Ethayarajh et al. 2024, eq. 8,
        with equal weights.
    """
    if kind == "kto":
        lost = torch.sigmoid(-beta * (better.gain - baseline)) + torch.sigmoid(-beta * (baseline - worse.gain))
        return lost / 2, (beta * (better.gain - worse.gain)).detach()
    if kind == "orpo":
        ratio = _log_odds(better.mean) - _log_odds(worse.mean)
        return -better.mean - beta * F.logsigmoid(ratio), (beta * ratio).detach()
    if kind == "simpo":
        reward = beta * (better.mean - worse.mean)
        return _smoothed(reward - margin, label_smoothing), reward.detach()
    if kind in ("ipo", "norm"):
        difference = better.gain / better.lengths - worse.gain / worse.lengths
        if kind == "ipo":
            return (difference - 1 / (2 * beta)) ** 2, (beta * difference).detach()
        return _smoothed(beta * difference, label_smoothing), (beta * difference).detach()
    reward = beta * (better.gain - worse.gain)
    if kind == "dpo":
        return _smoothed(reward, label_smoothing), reward.detach()
    flipped = label_smoothing * F.logsigmoid(-reward)
    robust = (flipped - (1 - label_smoothing) * F.logsigmoid(reward)) / (1 - 2 * label_smoothing)
    return robust, reward.detach()


def _smoothed(reward: Tensor, smoothing: float) -> Tensor:
    return -(1 - smoothing) * F.logsigmoid(reward) - smoothing * F.logsigmoid(-reward)


def _log_odds(mean_P: Tensor) -> Tensor:
    """log(p / (1 - p)) of p = exp(mean); a mean of 0 (a certain answer) is taken for one just below it."""
    mean_P = mean_P.clamp(max=-1e-6)
    return mean_P - torch.log(-torch.expm1(mean_P))
