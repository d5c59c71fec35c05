"""Log-probabilities of tokens without ever holding all logits.

A full logits tensor (tokens x vocabulary) is the largest thing a small model makes. Both functions walk over chunks of
tokens that stay in cache, so memory is one chunk, and the softmax is computed where it was just multiplied. Axes:
N tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

CHUNK_LOGITS = 1 << 20
"""Numbers in one chunk of logits: 4 MB of float32, about what a second-level cache and its neighbour hold."""


KEPT_LOGITS = 1 << 25
"""Up to so many bfloat16 logits are kept from the forward to the backward pass instead of multiplied again: 64 MB."""


def _chunks(
    hidden_ND: Tensor, head_VD: Tensor, kept_NV: Tensor | None = None
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """(rows, space for their logits as multiplied, the same in float32), chunk by chunk.

    The space is one and the same for all chunks, so that it stays in cache, or that of `kept_NV`; in float32 both are
    one tensor.
    """
    tokens, vocab = len(hidden_ND), len(head_VD)
    size = max(1, min(tokens, CHUNK_LOGITS // vocab))
    product = hidden_ND.new_empty(size, vocab) if kept_NV is None else kept_NV
    single = kept_NV is None and product.dtype == torch.float32
    logits = product if single else product.new_empty(size, vocab, dtype=torch.float32)
    for start in range(0, tokens, size):
        rows = slice(start, min(start + size, tokens))
        count = rows.stop - start
        yield rows, product[:count] if kept_NV is None else kept_NV[rows], logits[:count]


def _add_product(sum_VD: Tensor, left_NV: Tensor, right_ND: Tensor) -> None:
    """Adds left' right to a float32 sum; the product itself is rounded once where the activations are bfloat16."""
    if left_NV.dtype == torch.float32:
        sum_VD.addmm_(left_NV.T, right_ND)
    else:
        sum_VD += left_NV.T @ right_ND


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, weights_N: Tensor) -> Tensor:
        """Computes the gradients on the way, since the weight of each token is already known."""
        head = head_VD.to(hidden_ND.dtype)
        grad_hidden, grad_head = torch.empty_like(hidden_ND), torch.zeros_like(head_VD, dtype=torch.float32)
        total = torch.zeros((), dtype=torch.float32, device=hidden_ND.device)
        for rows, product, logits in _chunks(hidden_ND, head):
            hidden, targets, weights = hidden_ND[rows], targets_N[rows, None], weights_N[rows, None].float()
            logits.copy_(torch.mm(hidden, head.T, out=product))
            top = logits.amax(-1, keepdim=True)
            picked = logits.gather(-1, targets) - top
            logits.sub_(top).exp_()
            norm = logits.sum(-1, keepdim=True)
            total += ((norm.log() - picked) * weights).sum()
            logits.mul_(weights / norm).scatter_add_(-1, targets, -weights)
            torch.mm(product.copy_(logits), head, out=grad_hidden[rows])
            _add_product(grad_head, product, hidden)
        ctx.save_for_backward(grad_hidden, grad_head.to(head_VD.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_hidden, grad_head = ctx.saved_tensors
        return grad_hidden * grads[0].to(grad_hidden.dtype), grad_head * grads[0], None, None


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, temperature: float) -> Tensor:
        head = head_VD.to(hidden_ND.dtype)
        logprobs = torch.empty(len(targets_N), dtype=torch.float32, device=hidden_ND.device)
        learning = any(ctx.needs_input_grad) and hidden_ND.dtype == torch.bfloat16
        keep = learning and len(hidden_ND) * len(head) <= KEPT_LOGITS
        kept = hidden_ND.new_empty(len(hidden_ND), len(head)) if keep else None
        for rows, product, logits in _chunks(hidden_ND, head, kept):
            whole = logits.copy_(torch.mm(hidden_ND[rows], head.T, out=product)).div_(temperature).log_softmax(-1)
            logprobs[rows] = whole.gather(-1, targets_N[rows, None])[:, 0]
        ctx.save_for_backward(hidden_ND, head_VD, targets_N, kept)
        ctx.temperature = temperature
        return logprobs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        hidden_ND, head_VD, targets_N, kept = ctx.saved_tensors
        head = head_VD.to(hidden_ND.dtype)
        grad_hidden, grad_head = torch.empty_like(hidden_ND), torch.zeros_like(head_VD, dtype=torch.float32)
        for rows, product, logits in _chunks(hidden_ND, head, kept):
            upstream = grads[0][rows, None] / ctx.temperature
            again = product if kept is not None else torch.mm(hidden_ND[rows], head.T, out=product)
            logits.copy_(again).div_(ctx.temperature)
            slope = logits.softmax(-1).mul_(-upstream).scatter_add_(-1, targets_N[rows, None], upstream)
            torch.mm(product.copy_(slope), head, out=grad_hidden[rows])
            _add_product(grad_head, product, hidden_ND[rows])
        return grad_hidden, grad_head.to(head_VD.dtype), None, None


def cross_entropy(hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, weights_N: Tensor) -> Tensor:
    """sum_i weights_i * -log softmax(head hidden_i)[target_i], in nats. Weights take no gradient."""
    return _CrossEntropy.apply(hidden_ND, head_VD, targets_N, weights_N)


def token_logprobs(hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-probability of each target, float32 N, in nats.

    The distribution is softmax(logits / temperature), the one the sampler draws from. This is the one log-probability
    function of training, rollouts and evaluation.
    """
    return _TokenLogprobs.apply(hidden_ND, head_VD, targets_N, temperature)
