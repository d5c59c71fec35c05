"""The DPO family in float64 against the papers' equations, written out one pair at a time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from tests.train.worlds import Steps, run_dpo

from chatwright.train.preference_losses import WITHOUT_REFERENCE, PreferenceLoss, Side, preference_loss

KINDS: tuple[PreferenceLoss, ...] = get_args(PreferenceLoss)
PAIRS = 6


def sides(seed: int = 0) -> tuple[Side, Side]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(2):
        lengths = rng.integers(1, 12, PAIRS).astype(float)
        policy, reference = (-rng.uniform(0.05, 3.0, PAIRS) * lengths for _ in range(2))
        made.append(Side(*(torch.tensor(x, dtype=torch.float64) for x in (policy, reference, lengths))))
    return made[0], made[1]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def by_hand(kind: str, w: tuple[float, ...], b: tuple[float, ...], beta: float, e: float, gamma: float) -> float:
    """`w` and `b`: (policy, reference, length) of the better and the worse answer."""
    if kind in ("dpo", "robust"):
        m = beta * math.log((math.exp(w[0]) / math.exp(w[1])) / (math.exp(b[0]) / math.exp(b[1])))
        right, wrong = -math.log(sigmoid(m)), -math.log(sigmoid(-m))
        return (1 - e) * right + e * wrong if kind == "dpo" else ((1 - e) * right - e * wrong) / (1 - 2 * e)
    if kind == "ipo":
        return ((w[0] - w[1]) / w[2] - (b[0] - b[1]) / b[2] - 0.5 / beta) ** 2
    if kind == "norm":
        m = beta / w[2] * (w[0] - w[1]) - beta / b[2] * (b[0] - b[1])
        return -(1 - e) * math.log(sigmoid(m)) - e * math.log(sigmoid(-m))
    if kind == "simpo":
        m = beta / w[2] * w[0] - beta / b[2] * b[0] - gamma
        return -(1 - e) * math.log(sigmoid(m)) - e * math.log(sigmoid(-m))
    p, q = math.exp(w[0] / w[2]), math.exp(b[0] / b[2])
    return -w[0] / w[2] - beta * math.log(sigmoid(math.log((p / (1 - p)) / (q / (1 - q)))))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("beta", [0.1, 2.0])
@pytest.mark.parametrize("kind", KINDS)
def test_every_loss_is_its_papers_equation(kind: PreferenceLoss, beta: float, smoothing: float) -> None:
    better, worse = sides()
    loss, margin = preference_loss(kind, better, worse, beta=beta, label_smoothing=smoothing, margin=0.4)
    for i in range(PAIRS):
        w, b = (tuple(float(x[i]) for x in side) for side in (better, worse))
        assert float(loss[i]) == pytest.approx(by_hand(kind, w, b, beta, smoothing, 0.4), rel=1e-10)
    assert margin.shape == loss.shape
    assert not margin.requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind: PreferenceLoss) -> None:
    better, worse = sides(3)

    def total(policy: torch.Tensor) -> torch.Tensor:
        changed = Side(policy[0], better.reference, better.lengths), Side(policy[1], worse.reference, worse.lengths)
        return preference_loss(kind, *changed, beta=0.7, label_smoothing=0.1, margin=0.3)[0].sum()

    policy = torch.stack([better.logprobs, worse.logprobs]).requires_grad_(True)
    assert torch.autograd.gradcheck(total, (policy,), eps=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_a_better_answer_made_likelier_lowers_the_loss_until_it_is_enough(kind: PreferenceLoss) -> None:
    better, worse = sides(5)
    policy = better.logprobs.clone().requires_grad_(True)
    loss, margin = preference_loss(kind, Side(policy, *better[1:]), worse, beta=0.1)
    loss.sum().backward()
    assert policy.grad is not None
    if kind == "ipo":  # which has a margin of 1/2 in beta's units to reach, and comes back from above
        assert torch.equal(policy.grad < 0, margin < 0.5)
    else:
        assert (policy.grad < 0).all()


def test_at_the_reference_the_loss_is_ln_2() -> None:
    better, worse = (Side(s.logprobs, s.logprobs, s.lengths) for s in sides())
    for kind in ("dpo", "robust", "norm"):
        loss, margin = preference_loss(kind, better, worse, beta=0.3)
        assert loss.tolist() == pytest.approx([math.log(2)] * PAIRS, abs=1e-15)
        assert margin.tolist() == [0.0] * PAIRS


def test_reference_free_losses_do_not_look_at_it() -> None:
    better, worse = sides()
    for kind in WITHOUT_REFERENCE:
        other = [Side(s.logprobs, s.reference * 3 + 1, s.lengths) for s in (better, worse)]
        assert torch.equal(
            preference_loss(kind, better, worse, beta=2.0)[0], preference_loss(kind, *other, beta=2.0)[0]
        )


@pytest.mark.parametrize("kind", KINDS)
def test_far_apart_answers_do_not_overflow(kind: PreferenceLoss) -> None:
    for sign in (1.0, -1.0):
        certain = Side(torch.zeros(1), torch.full((1,), -900.0), torch.ones(1))
        lost = Side(torch.full((1,), -900.0), torch.zeros(1), torch.ones(1))
        pair = (certain, lost) if sign > 0 else (lost, certain)
        policy = pair[0].logprobs.clone().requires_grad_(True)
        loss, _ = preference_loss(kind, Side(policy, *pair[0][1:]), pair[1], beta=5.0)
        loss.sum().backward()
        assert policy.grad is not None
        assert torch.isfinite(loss).all()
        assert torch.isfinite(policy.grad).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_with_every_loss_learns_to_order_its_pairs(kind: PreferenceLoss, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"margin": 0.5} if kind == "simpo" else {}
    steps = Steps()
    run_dpo(tmp_path, steps, loss=kind, epochs=8.0, **changes)
    first, last = steps.losses[1], steps.losses[max(steps.losses)]
    assert last < first
    if kind in ("dpo", "robust", "norm"):
        assert first == pytest.approx(math.log(2), abs=1e-5)
