"""Drawing tokens: a batch of rows, each with its own temperature, cut-offs and random numbers.

A request's random numbers come from its own counter-based stream (Philox over its seed), one number a token, so what
it draws does not depend on who shares the batch. (Its logits may: in float32 a matrix product of another shape adds up
in another order, and a number that falls within the last bits of a boundary then takes the other side.)
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

COLDEST = 1e-5
"""Temperatures below this are greedy: logits divided by less can overflow."""


def uniforms(seed: int, count: int) -> np.ndarray:
    """`count` numbers in [0, 1), float64, the same for a seed on every machine."""
    return np.random.Generator(np.random.Philox(key=seed)).random(count)


def draw(
    logits_BV: Tensor,
    temperature_B: Tensor,
    top_k_B: Tensor,
    top_p_B: Tensor,
    uniform_B: Tensor,
    min_p_B: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """(tokens B, log-probabilities B) by inverting the cumulative distribution at `uniform_B`.

    Rows with temperature 0 (or too near it to divide by) take the most likely token and report its log-probability at
    temperature 1. top_k cuts first, then top_p (the smallest set of tokens whose probability reaches p; Holtzman et al.
    2020), then min_p (tokens less likely than p times the likeliest; Nguyen et al. 2024). Log-probabilities are those
    before any cut.
    """
    greedy = temperature_B < COLDEST
    logprobs = torch.log_softmax(logits_BV / torch.where(greedy, 1.0, temperature_B)[:, None], dim=-1)
    if bool(greedy.all()):
        tokens = logprobs.argmax(-1)
        return tokens, logprobs.gather(-1, tokens[:, None])[:, 0]
    kept = logprobs
    if bool((top_k_B > 0).any()) or bool((top_p_B < 1).any()):
        kept = _cut(logprobs, top_k_B, top_p_B)
    if min_p_B is not None and bool((min_p_B > 0).any()):
        least = logprobs.amax(-1) + min_p_B.log()
        kept = kept.masked_fill(logprobs < least[:, None], -torch.inf)
    cumulative = kept.exp().cumsum(-1)
    # Below the whole by at least one bit, or rounding could point past the last token that has any probability.
    whole = cumulative[:, -1:]
    threshold = torch.minimum(uniform_B.to(whole.dtype)[:, None] * whole, whole.nextafter(torch.zeros_like(whole)))
    tokens = torch.where(greedy, kept.argmax(-1), (cumulative <= threshold).sum(-1))
    return tokens, logprobs.gather(-1, tokens[:, None])[:, 0]


def _cut(logprobs_BV: Tensor, top_k_B: Tensor, top_p_B: Tensor) -> Tensor:
    """-inf for tokens outside the row's top k and outside its nucleus."""
    ordered, order = logprobs_BV.sort(dim=-1, descending=True, stable=True)
    rank = torch.arange(ordered.shape[-1], device=ordered.device)
    outside = (top_k_B[:, None] > 0) & (rank >= top_k_B[:, None])
    probabilities = ordered.masked_fill(outside, -torch.inf).softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    outside |= (before >= top_p_B[:, None]) & (rank > 0) & (top_p_B[:, None] < 1)
    return logprobs_BV.masked_fill(torch.zeros_like(outside).scatter(-1, order, outside), -torch.inf)


def model_logprobs(logits_BV: Tensor, tokens_B: Tensor) -> Tensor:
    """Log-probability of each row's token under the model's own distribution, B."""
    return logits_BV.log_softmax(-1).gather(-1, tokens_B[:, None])[:, 0]


def alternatives(logits_V: Tensor, count: int) -> tuple[tuple[int, float], ...]:
    """The `count` most likely tokens of a row with their log-probabilities, best first."""
    best = logits_V.topk(min(count, len(logits_V)))
    logprobs = best.values - logits_V.logsumexp(-1)
    return tuple(zip(best.indices.tolist(), logprobs.tolist(), strict=True))
