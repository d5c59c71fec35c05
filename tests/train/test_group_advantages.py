"""Group advantages and what goes with them, in float64 against loops written from the definitions."""

from __future__ import annotations

import math
import statistics
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from chatwright.train.group_advantages import (
    EPSILON,
    action_weights,
    group_advantages,
    k3,
    priced_advantages,
    without_variance,
)

METHODS: list[Any] = ["rloo", "grpo", "dr_grpo"]


def rewards(seed: int = 1, groups: int = 5, answers: int = 4) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).standard_normal((groups, answers)) * 3 + 7)


def by_hand(method: str, group: list[float]) -> list[float]:
    if method == "rloo":
        return [r - statistics.fmean(group[:i] + group[i + 1 :]) for i, r in enumerate(group)]
    centred = [r - statistics.fmean(group) for r in group]
    return [c / (statistics.stdev(group) + EPSILON) for c in centred] if method == "grpo" else centred


@pytest.mark.parametrize("answers", [2, 3, 8])
@pytest.mark.parametrize("method", METHODS)
def test_advantages_are_those_of_the_definition(method: Any, answers: int) -> None:
    given = rewards(answers, answers=answers)
    got = group_advantages(method, given)
    for row, group in zip(got.tolist(), given.tolist(), strict=True):
        assert row == pytest.approx(by_hand(method, group), rel=1e-12, abs=1e-12)
    assert torch.allclose(got.sum(-1), torch.zeros(len(got), dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_a_group_that_agrees_teaches_exactly_nothing(method: Any) -> None:
    given = torch.tensor([[0.1] * 7, [0.1] * 6 + [0.2], [1 / 3] * 7], dtype=torch.float32)
    assert without_variance(given).tolist() == [True, False, True]
    got = group_advantages(method, given)
    assert (got[[0, 2]] == 0).all()  # the mean of seven 0.1 is not 0.1 to the bit
    assert (got[1] != 0).all()


def test_rloo_is_dr_grpo_but_for_a_constant() -> None:
    given = rewards(answers=5)
    torch.testing.assert_close(group_advantages("rloo", given), group_advantages("dr_grpo", given) * 5 / 4)


def test_leaving_one_out_keeps_the_policy_gradient_unbiased() -> None:
    """Over every pair of answers to a prompt, weighed by their probability, the estimate is the gradient of E[r]."""
    logits = torch.tensor([0.3, -0.8, 1.1], dtype=torch.float64, requires_grad=True)
    prize = torch.tensor([1.0, 4.0, -2.0], dtype=torch.float64)
    (exact,) = torch.autograd.grad((logits.softmax(-1) * prize).sum(), logits)
    biased = {}
    for method in METHODS:
        total = torch.zeros(3, dtype=torch.float64)
        for pair in product(range(3), repeat=2):
            logprobs = logits.log_softmax(-1)[list(pair)]
            chance = float(logprobs.detach().sum().exp())
            advantages = group_advantages(method, prize[list(pair)][None])[0]
            (gradient,) = torch.autograd.grad((advantages * logprobs).mean(), logits)
            total += chance * gradient
        biased[method] = total
    torch.testing.assert_close(biased["rloo"], exact)
    torch.testing.assert_close(biased["dr_grpo"], exact / 2)  # K = 2: (K - 1) / K
    assert torch.nn.functional.cosine_similarity(biased["grpo"], exact, dim=0) < 0.999


@pytest.mark.parametrize("method", ["rloo", "dr_grpo"])
def test_priced_advantages_are_those_of_the_reward_less_its_kl(method: Any) -> None:
    given, kl = rewards(1), rewards(2)
    expected = [by_hand(method, group) for group in (given - 0.3 * kl).tolist()]
    torch.testing.assert_close(priced_advantages(method, given, kl, 0.3), torch.tensor(expected, dtype=torch.float64))


def test_grpo_does_not_blow_up_the_kl_of_a_group_that_agrees() -> None:
    given, kl = torch.ones(1, 4, dtype=torch.float64), torch.tensor([[0.0, 0.1, 0.2, 0.5]], dtype=torch.float64)
    got = priced_advantages("grpo", given, kl, 0.1)[0].tolist()
    assert got == pytest.approx([0.02, 0.01, 0.0, -0.03])


LENGTHS = [3, 1, 7]
AGGREGATED = {
    "token": lambda each: sum(map(sum, each)) / sum(LENGTHS),
    "sequence": lambda each: statistics.fmean(sum(row) / len(row) for row in each),
    "constant": lambda each: statistics.fmean(sum(row) / 16 for row in each),
}


@pytest.mark.parametrize("aggregation", list(AGGREGATED))
def test_aggregation_is_that_of_the_definition(aggregation: Any) -> None:
    rng = np.random.default_rng(3)
    each = [rng.standard_normal(n).tolist() for n in LENGTHS]
    weights, divisor = action_weights(aggregation, torch.tensor(LENGTHS, dtype=torch.float64), 16)
    got = sum(float(w) * sum(row) for w, row in zip(weights, each, strict=True)) / divisor
    assert got == pytest.approx(AGGREGATED[aggregation](each), rel=1e-12)


def test_divisors_of_two_halves_add_up() -> None:
    """So that minibatches in pieces, and on several ranks, are averaged as one."""
    lengths = torch.tensor(LENGTHS)
    for aggregation in AGGREGATED:
        whole, divisor = action_weights(aggregation, lengths, 16)  # type: ignore[arg-type]
        parts = [action_weights(aggregation, part, 16) for part in (lengths[:1], lengths[1:])]  # type: ignore[arg-type]
        assert torch.equal(whole, torch.cat([weights for weights, _ in parts]))
        assert divisor == sum(d for _, d in parts)


def two() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of a policy and of its reference over five tokens."""
    rng = np.random.default_rng(4)
    return (torch.tensor(rng.standard_normal(5) * s, requires_grad=s == 1.0) for s in (1.0, 1.5))  # type: ignore[return-value]


def test_k3_has_the_value_of_one_kl_and_the_gradient_of_the_other() -> None:
    policy, reference = two()
    logp, logref = policy.log_softmax(-1), reference.log_softmax(-1)
    each = k3(logp, logref)
    assert (each >= 0).all()
    for got, p, r in zip(each.tolist(), logp.tolist(), logref.tolist(), strict=True):
        assert got == pytest.approx(math.exp(r - p) - (r - p) - 1, rel=1e-12)
    reverse = (logp.exp() * (logp - logref)).sum()
    forward = (logref.exp() * (logref - logp)).sum()
    drawn = (logp.exp().detach() * each).sum()  # the mean over tokens drawn from the policy
    assert float(drawn.detach()) == pytest.approx(float(reverse.detach()), rel=1e-12)
    gradients = [torch.autograd.grad(v, policy, retain_graph=True)[0] for v in (drawn, forward, reverse)]
    torch.testing.assert_close(gradients[0], gradients[1])
    assert not torch.allclose(gradients[0], gradients[2], rtol=0.05)


def test_k1_in_the_reward_has_the_gradient_of_the_kl_it_measures() -> None:
    policy, reference = two()
    logp, logref = policy.log_softmax(-1), reference.log_softmax(-1)
    (exact,) = torch.autograd.grad((logp.exp() * (logp - logref)).sum(), policy, retain_graph=True)
    priced = (logp.exp() * (logp - logref)).detach() * logp  # sum_a pi(a) k1(a) log pi(a)
    torch.testing.assert_close(torch.autograd.grad(priced.sum(), policy)[0], exact)


def test_k3_of_a_stray_token_is_finite() -> None:
    assert torch.isfinite(k3(torch.tensor([-900.0, 0.0]), torch.tensor([0.0, -900.0]))).all()
