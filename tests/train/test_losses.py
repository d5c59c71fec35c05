"""Losses and advantages in float64 against loops written from the papers' equations."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import torch

from chatwright.train.advantages import gae, next_kl_coef, token_rewards, whiten
from chatwright.train.losses import ppo_policy_loss, ppo_value_loss, ranking_loss


def sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


def numbers(count: int, seed: int, scale: float = 2.0) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).standard_normal(count) * scale)


def finite_difference(function: object, at: torch.Tensor, step: float = 1e-6) -> torch.Tensor:
    slopes = []
    for index in range(len(at)):
        up, down = at.clone(), at.clone()
        up[index] += step
        down[index] -= step
        slopes.append((float(function(up)) - float(function(down))) / (2 * step))  # type: ignore[operator]
    return torch.tensor(slopes, dtype=torch.float64)


@pytest.mark.parametrize("k", [2, 3, 4, 9])
def test_ranking_loss_is_the_mean_over_all_pairs_of_a_prompt(k: int) -> None:
    """Ouyang et al. 2022, eq. 1, for one prompt whose K answers are ranked 0 > 1 > ... > K-1."""
    rewards = numbers(k, seed=k)
    pairs = torch.tensor(list(combinations(range(k), 2)))
    weights = torch.full((len(pairs),), 1 / len(pairs), dtype=torch.float64)
    expected = sum(-math.log(sigmoid(float(rewards[i] - rewards[j]))) for i, j in combinations(range(k), 2))
    assert float(ranking_loss(rewards, pairs, weights)) == pytest.approx(expected / math.comb(k, 2), rel=1e-12)


def test_ranking_loss_of_two_in_closed_form_with_its_gradient() -> None:
    rewards = torch.tensor([0.3, 1.1], dtype=torch.float64, requires_grad=True)
    loss = ranking_loss(rewards, torch.tensor([[0, 1]]), torch.ones(1, dtype=torch.float64), center=0.25)
    assert float(loss.detach()) == pytest.approx(math.log(1 + math.exp(0.8)) + 0.25 * 1.4**2, rel=1e-12)
    loss.backward()
    assert rewards.grad is not None
    expected = [-(1 - sigmoid(-0.8)) + 0.5 * 1.4, (1 - sigmoid(-0.8)) + 0.5 * 1.4]
    assert rewards.grad.tolist() == pytest.approx(expected, rel=1e-12)


def test_ranking_loss_does_not_overflow() -> None:
    rewards = torch.tensor([-1e4, 1e4], requires_grad=True)
    loss = ranking_loss(rewards, torch.tensor([[0, 1]]), torch.ones(1))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(2e4)
    assert rewards.grad is not None
    assert torch.isfinite(rewards.grad).all()


def test_policy_loss_element_by_element() -> None:
    new, old, advantages = numbers(60, 1, 0.3), numbers(60, 2, 0.3), numbers(60, 3)
    loss, ratio = ppo_policy_loss(new, old, advantages, clip_range=0.2)
    seen = set()
    for i in range(60):
        r, a = math.exp(float(new[i] - old[i])), float(advantages[i])
        clipped = min(max(r, 0.8), 1.2)
        seen.add((a > 0, r < 0.8, r > 1.2))
        assert float(loss[i]) == pytest.approx(-min(r * a, clipped * a), rel=1e-12)
        assert float(ratio[i]) == pytest.approx(r, rel=1e-12)
    assert len(seen) == 6  # every branch was met


def test_policy_gradient_vanishes_exactly_where_the_clip_binds() -> None:
    new = torch.tensor([0.5, 0.5, -0.5, -0.5], dtype=torch.float64, requires_grad=True)
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    ppo_policy_loss(new, torch.zeros(4, dtype=torch.float64), advantages, 0.2)[0].sum().backward()
    assert new.grad is not None
    assert new.grad.tolist() == pytest.approx([0.0, math.exp(0.5), -math.exp(-0.5), 0.0])


def test_policy_loss_of_a_stray_token_is_finite() -> None:
    loss, ratio = ppo_policy_loss(torch.tensor([0.0]), torch.tensor([-500.0]), torch.tensor([-1.0]), 0.2)
    assert torch.isfinite(loss).all()
    assert float(ratio) == pytest.approx(math.exp(20), rel=1e-5)


def test_value_loss_element_by_element() -> None:
    values, old, returns = numbers(60, 4), numbers(60, 5), numbers(60, 6)
    loss = ppo_value_loss(values, old, returns, clip_range=0.5)
    for i in range(60):
        v, o, r = float(values[i]), float(old[i]), float(returns[i])
        clipped = min(max(v, o - 0.5), o + 0.5)
        assert float(loss[i]) == pytest.approx(0.5 * max((v - r) ** 2, (clipped - r) ** 2), rel=1e-12)


LENGTHS = [6, 1, 4, 6]
AFTER = [0.7, -2.0, 0.0, 5.0]
"""Values behind episodes that were cut."""


def episodes() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rewards, values and masks of episodes of several lengths; beyond their end stands garbage."""
    rng = np.random.default_rng(8)
    mask = (torch.arange(6) < torch.tensor(LENGTHS)[:, None]).double()
    return torch.tensor(rng.standard_normal((4, 6)) * 3), torch.tensor(rng.standard_normal((4, 6)) * 3), mask


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.99, 0.0)])
def test_advantages_are_the_double_sum_of_the_definition(gamma: float, lam: float, ended: bool) -> None:
    """A_t = sum_l (gamma lam)^l delta_{t+l}, delta_t = r_t + gamma V_{t+1} - V_t; V after the end is 0 or given."""
    rewards, values, mask = episodes()
    behind = None if ended else torch.tensor(AFTER, dtype=torch.float64)
    advantages, returns = gae(rewards, values, mask, gamma, lam, behind)
    for n, length in enumerate(LENGTHS):
        after = [float(values[n, t]) for t in range(length)] + [0.0 if ended else AFTER[n]]
        for t in range(6):
            if t >= length:
                assert float(advantages[n, t]) == float(returns[n, t]) == 0.0
                continue
            expected = sum(
                (gamma * lam) ** (u - t) * (float(rewards[n, u]) + gamma * after[u + 1] - after[u])
                for u in range(t, length)
            )
            assert float(advantages[n, t]) == pytest.approx(expected, rel=1e-10, abs=1e-12)
            assert float(returns[n, t]) == pytest.approx(expected + after[t], rel=1e-10, abs=1e-12)


def test_with_lambda_1_returns_are_the_rewards_to_come() -> None:
    rewards, values, mask = episodes()
    _, returns = gae(rewards, values, mask, 1.0, 1.0)
    to_come = (rewards * mask).flip(-1).cumsum(-1).flip(-1) * mask
    torch.testing.assert_close(returns, to_come)


def test_whitening_has_mean_0_and_deviation_1_over_actions_only() -> None:
    values, _, mask = episodes()
    got = whiten(values, mask)
    inside = values[mask != 0].numpy()
    expected = (inside - inside.mean()) / math.sqrt(inside.var() + 1e-8)
    np.testing.assert_allclose(got[mask != 0].numpy(), expected, rtol=1e-12)
    assert (got[mask == 0] == 0).all()
    assert torch.isfinite(whiten(torch.ones(1, 1), torch.ones(1, 1))).all()


def test_token_rewards_price_every_token_and_pay_at_the_end() -> None:
    """Ouyang et al. 2022, eq. 2, per token; garbage beyond the end counts nothing."""
    logprobs, reference, mask = episodes()
    scores = torch.tensor([1.0, -2.0, 3.0, 4.0], dtype=torch.float64)
    rewards = token_rewards(logprobs, reference, scores, mask, kl_coef=0.1)
    for n, length in enumerate(LENGTHS):
        for t in range(6):
            expected = -0.1 * float(logprobs[n, t] - reference[n, t]) if t < length else 0.0
            expected += float(scores[n]) if t == length - 1 else 0.0
            assert float(rewards[n, t]) == pytest.approx(expected, abs=1e-12)


def test_adaptive_price_of_kl_follows_ziegler() -> None:
    """Within 20 % of the target in proportion, beyond that by 20 % of answers / horizon and no more."""
    assert next_kl_coef(0.1, 6.0, 6.0, 64, 1000) == pytest.approx(0.1)
    assert next_kl_coef(0.1, 6.6, 6.0, 64, 1000) == pytest.approx(0.1 * (1 + 0.1 * 64 / 1000))
    assert next_kl_coef(0.1, 60.0, 6.0, 64, 1000) == pytest.approx(0.1 * (1 + 0.2 * 64 / 1000))
    assert next_kl_coef(0.1, -3.0, 6.0, 64, 1000) == pytest.approx(0.1 * (1 - 0.2 * 64 / 1000))
    assert next_kl_coef(0.1, -3.0, 6.0, 1000, 10) == pytest.approx(0.08)  # a batch beyond the horizon: never below 0
    assert next_kl_coef(0.1, math.nan, 6.0, 64, 1000) == 0.1
    price = 0.1
    for _ in range(400):  # a policy whose KL is 1 / price settles where that is the target
        price = next_kl_coef(price, 1 / price, 4.0, 100, 1000)
    assert price == pytest.approx(0.25, rel=0.01)
