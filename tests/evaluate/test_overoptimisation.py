"""Best-of-n against every subset, Gao's curves against scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import curve_fit, minimize_scalar

from chatwright.evaluate.overoptimisation import (
    Curve,
    best_of_n,
    best_of_n_curve,
    best_of_n_kl,
    fit_curve,
    sizes_up_to,
)


@pytest.mark.parametrize("n", [1, 2, 3, 6, 7])
def test_best_of_n_is_the_mean_over_every_subset(n: int) -> None:
    rng = np.random.default_rng(n)
    proxy, gold = rng.normal(size=7), rng.normal(size=7)
    wanted = np.mean([gold[max(s, key=lambda i: proxy[i])] for s in itertools.combinations(range(7), n)])
    assert best_of_n(proxy.tolist(), gold.tolist(), n) == pytest.approx(wanted, rel=1e-12)


def test_equal_answers_are_picked_by_lot() -> None:
    """Over all subsets and, within the best of each, over all that the proxy holds equal."""
    proxy, gold = [1.0, 2.0, 2.0, 0.0, 2.0, 1.0], [0.1, 0.9, 0.3, 0.7, 0.2, 0.5]
    for n in range(1, 7):
        means = []
        for subset in itertools.combinations(range(6), n):
            top = max(proxy[i] for i in subset)
            means.append(np.mean([gold[i] for i in subset if proxy[i] == top]))
        assert best_of_n(proxy, gold, n) == pytest.approx(np.mean(means), rel=1e-9)


def test_the_estimate_from_many_answers_is_that_of_sampling_n() -> None:
    """Unbiased: over many draws of N = 12, the estimate for n = 4 is on average the mean of 4 fresh ones."""
    rng = np.random.default_rng(5)
    estimates = []
    for _ in range(4000):
        gold = rng.normal(size=12)
        proxy = 0.6 * gold + 0.8 * rng.normal(size=12)
        estimates.append(best_of_n(proxy.tolist(), gold.tolist(), 4))
    # The proxy correlates by 0.6, so gold of the best is 0.6 times the expected largest of 4 normals.
    u = (np.arange(400_000) + 0.5) / 400_000
    from scipy.stats import norm

    largest = float((norm.ppf(u) * 4 * u**3).mean())
    assert np.mean(estimates) == pytest.approx(0.6 * largest, abs=4 * np.std(estimates) / math.sqrt(4000))


def test_kl_of_best_of_n_for_a_uniform_rank() -> None:
    """The best of n has density n u^(n-1) over the rank u: the integral of its log ratio, by midpoints."""
    for n in (1, 2, 4, 16):
        u = (np.arange(2_000_000) + 0.5) / 2_000_000
        density = n * u ** (n - 1)
        assert best_of_n_kl(n) == pytest.approx(float((density * np.log(density)).mean()), abs=1e-4)


def test_asking_for_more_answers_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="best of 4"):
        best_of_n([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 4)
    with pytest.raises(ValueError, match="best of 0"):
        best_of_n([1.0], [1.0], 0)


@pytest.mark.parametrize(
    ("most", "sizes"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (16, [1, 2, 4, 8, 16]), (20, [1, 2, 4, 8, 16, 20])]
)
def test_sizes_double_up_to_the_largest(most: int, sizes: list[int]) -> None:
    assert sizes_up_to(most) == sizes


def test_curve_is_the_mean_over_prompts_with_an_interval_around_it() -> None:
    rng = np.random.default_rng(2)
    gold = rng.normal(size=(80, 8))
    proxy = gold + rng.normal(size=(80, 8))
    curve = best_of_n_curve(proxy.tolist(), gold.tolist(), resamples=400)
    assert list(curve["by_n"]) == ["1", "2", "4", "8"]
    for n, row in curve["by_n"].items():
        each = [
            np.mean([g[max(s, key=lambda i: p[i])] for s in itertools.combinations(range(8), int(n))])
            for p, g in zip(proxy, gold, strict=True)
        ]
        value, low, high = row["gold"]
        assert value == pytest.approx(np.mean(each), rel=1e-9)
        error = np.std(each) / math.sqrt(80)
        assert high - low == pytest.approx(2 * 1.96 * error, rel=0.25)
        gains = np.array(each) - gold.mean(axis=1)
        assert row["gold_gain"][0] == pytest.approx(gains.mean(), abs=1e-12)
        best = [np.mean([max(p[list(s)]) for s in itertools.combinations(range(8), int(n))]) for p in proxy]
        assert row["proxy"][0] == pytest.approx(np.mean(best), rel=1e-9)
    assert curve["by_n"]["1"]["gold_gain"] == pytest.approx([0.0, 0.0, 0.0], abs=1e-12)
    assert curve["fit"]["alpha"] > 0


def test_prompts_of_one_cluster_make_the_interval_wider() -> None:
    rng = np.random.default_rng(4)
    shared = np.repeat(rng.normal(size=(20, 1)), 6, axis=0)
    scores = (shared + 0.1 * rng.normal(size=(120, 4))).tolist()
    alone = best_of_n_curve(scores)["by_n"]["4"]["proxy"]
    together = best_of_n_curve(scores, None, [i // 6 for i in range(120)])["by_n"]["4"]["proxy"]
    assert together[2] - together[1] > 1.7 * (alone[2] - alone[1])


def test_without_gold_there_is_neither_gold_nor_fit() -> None:
    curve = best_of_n_curve([[0.0, 1.0, 2.0, 3.0]] * 3)
    assert curve["fit"] is None
    assert all(set(row) == {"kl", "proxy"} for row in curve["by_n"].values())


@pytest.mark.parametrize("learned", [True, False])
def test_the_fit_is_that_of_scipy_and_its_peak_the_maximum(learned: bool) -> None:
    rng = np.random.default_rng(3)
    d = np.linspace(0.2, 6, 25)
    truth = Curve(1.2, 0.5, learned) if learned else Curve(1.2, 0.15, learned)
    gains = np.array([truth(x) for x in d]) + rng.normal(0, 0.02, len(d))
    fitted = fit_curve([0.0, *d], [0.0, *gains], learned=learned)
    assert fitted is not None
    wanted, _ = curve_fit(lambda x, a, b: x * (a - b * (np.log(x) if learned else x)), d, gains)
    assert (fitted.alpha, fitted.beta) == pytest.approx(tuple(wanted), rel=1e-6)
    assert (fitted.alpha, fitted.beta) == pytest.approx((truth.alpha, truth.beta), abs=0.03)
    assert fitted.peak is not None
    top = minimize_scalar(lambda x: -fitted(x), bounds=(0.01, 20), method="bounded")
    assert fitted.peak == pytest.approx(top.x, abs=1e-3)


def test_without_a_turn_or_without_points_there_is_no_peak() -> None:
    assert Curve(1.0, 0.0, True).peak is None
    assert Curve(-1.0, 0.5, False).peak is None
    assert Curve(1.0, 0.5, True)(0.0) == 0.0
    assert fit_curve([0.0, 1.0, 2.0], [0.0, 1.0, 1.5], learned=True) is None
    assert math.isfinite(Curve(1.0, 0.5, True)(1e-9))
