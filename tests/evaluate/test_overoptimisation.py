"""Best-of-n against every subset, Gao's curves against scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import curve_fit, minimize_scalar

from chatwright.evaluate.overoptimisation import Curve, best_of_n, best_of_n_kl, fit_curve


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
        got = best_of_n(proxy, gold, n)
        # Ties reach across subsets: picking one of the equal at random gives each its turn alike.
        shared = [np.mean([g for p, g in zip(proxy, gold, strict=True) if p == q]) for q in proxy]
        wanted = np.mean([shared[max(s, key=lambda i: proxy[i])] for s in itertools.combinations(range(6), n)])
        assert got == pytest.approx(wanted, rel=1e-12)
        assert np.mean(means) == pytest.approx(wanted, rel=1e-9)


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
    assert fitted.peak is not None
    top = minimize_scalar(lambda x: -fitted(x), bounds=(0.01, 20), method="bounded")
    assert fitted.peak == pytest.approx(top.x, abs=1e-3)


def test_without_a_turn_or_without_points_there_is_no_peak() -> None:
    assert Curve(1.0, 0.0, True).peak is None
    assert Curve(-1.0, 0.5, False).peak is None
    assert Curve(1.0, 0.5, True)(0.0) == 0.0
    assert fit_curve([0.0, 1.0, 2.0], [0.0, 1.0, 1.5], learned=True) is None
    assert math.isfinite(Curve(1.0, 0.5, True)(1e-9))
