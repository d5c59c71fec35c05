"""How far optimising a proxy carries the gold along (Gao, Schulman & Hilton 2022, "Scaling laws for reward model
overoptimization"). Pure functions; distances are d = sqrt(KL) from the policy one started with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def best_of_n(proxy: Sequence[float], gold: Sequence[float], n: int) -> float:
    """Expected gold of the answer that `proxy` likes best among `n`, from all N >= n answers to one prompt.

    The mean over all subsets of n without drawing any: sum over i of C(i - 1, n - 1) / C(N, n) gold[i-th by proxy],
    worst first (Nakano et al. 2021, appendix I). Answers the proxy holds equal share their gold, as if one were picked
    by lot. Raises ValueError where n is not in 1..N.
    """
    if len(proxy) != len(gold) or not 1 <= n <= len(proxy):
        raise ValueError(f"the best of {n} cannot be told from {len(proxy)} proxy and {len(gold)} gold scores")
    values, places = np.unique(np.asarray(proxy, np.float64), return_inverse=True)
    shared = np.bincount(places, np.asarray(gold, np.float64)) / np.bincount(places, minlength=len(values))
    by_proxy = shared[np.sort(places)]
    subsets = math.comb(len(by_proxy), n)
    return sum(math.comb(i, n - 1) / subsets * float(g) for i, g in enumerate(by_proxy))


def best_of_n_kl(n: int) -> float:
    """KL of the best-of-n policy from the one it samples, in nats: log n - (n - 1) / n (Stiennon et al. 2020)."""
    return math.log(n) - (n - 1) / n


@dataclass(frozen=True, slots=True)
class Curve:
    """Gold gained at distance d: d (alpha - beta d) for best-of-n, d (alpha - beta log d) if it was learned."""

    alpha: float
    beta: float
    learned: bool
    """True for reinforcement learning."""

    def __call__(self, d: float) -> float:
        if d <= 0:
            return 0.0
        return d * (self.alpha - self.beta * (math.log(d) if self.learned else d))

    @property
    def peak(self) -> float | None:
        """The distance beyond which more optimisation loses gold; None where the curve never turns down."""
        if self.beta <= 0:
            return None
        if self.learned:
            return math.exp(self.alpha / self.beta - 1)
        return self.alpha / (2 * self.beta) if self.alpha > 0 else None


def fit_curve(distances: Sequence[float], gains: Sequence[float], *, learned: bool) -> Curve | None:
    """Least squares of Gao's curve through gold gains over the start; None with fewer than three distances above 0."""
    rows = [(d, g) for d, g in zip(distances, gains, strict=True) if d > 0]
    if len({d for d, _ in rows}) < 3:
        return None
    d, gain = np.array(rows, np.float64).T
    terms = np.stack([d, -d * (np.log(d) if learned else d)], axis=1)
    (alpha, beta), *_ = np.linalg.lstsq(terms, gain, rcond=None)
    return Curve(float(alpha), float(beta), learned)
