"""How far optimising a proxy carries the gold along (Gao, Schulman & Hilton 2022, "Scaling laws for reward model
overoptimization"). Pure functions; distances are d = sqrt(KL) from the policy one started with, KL in nats.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from chatwright.evaluate.statistics import Interval, bootstrap_mean


def best_of_n(proxy: Sequence[float], gold: Sequence[float], n: int) -> float:
    """Expected gold of the answer that `proxy` likes best among `n`, from all N >= n answers to one prompt.

    The mean over all subsets of n without drawing any: sum over i of C(i - 1, n - 1) / C(N, n) gold[i-th by proxy],
    worst first (Nakano et al. 2021). Answers the proxy holds equal share their gold, as if one were picked
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
    """KL of the best-of-n policy from the one it samples, in nats: log n - (n - 1) / n (Stiennon et al. 2020).

    Exact where no two answers rank equal, an upper bound otherwise (Beirami et al. 2024).
    """
    return math.log(n) - (n - 1) / n


def sizes_up_to(most: int) -> list[int]:
    """1, 2, 4, ... and `most` itself."""
    return [*(2**i for i in range(most.bit_length()) if 2**i < most), most]


def best_of_n_curve(
    proxy_PN: Sequence[Sequence[float]],
    gold_PN: Sequence[Sequence[float]] | None = None,
    clusters: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> dict[str, Any]:
    """Expected scores for n = 1, 2, 4 ... N over P prompts of N answers each, and Gao's curve through the gold gains.

    `by_n` holds per n its `kl`, `proxy` and, with gold, `gold` and `gold_gain` over n = 1 (prompt by prompt), each as
    [value, low, high] by bootstrap over prompts, or over `clusters` of them. `fit` is alpha, beta and the distance of
    the peak, None where there are fewer than three n above 1 or no gold.
    """
    rows: dict[str, dict[str, Any]] = {}

    def interval(values: Sequence[float]) -> list[float]:
        return _numbers(bootstrap_mean(values, clusters, confidence=confidence, resamples=resamples))

    for n in sizes_up_to(len(proxy_PN[0])):
        row = rows[str(n)] = {"kl": best_of_n_kl(n)}
        row["proxy"] = interval([best_of_n(p, p, n) for p in proxy_PN])
        if gold_PN is not None:
            golds = [best_of_n(p, g, n) for p, g in zip(proxy_PN, gold_PN, strict=True)]
            row["gold"] = interval(golds)
            single = [best_of_n(p, g, 1) for p, g in zip(proxy_PN, gold_PN, strict=True)]
            row["gold_gain"] = interval([g - alone for g, alone in zip(golds, single, strict=True)])
    fitted = None
    if gold_PN is not None:
        gains = [row["gold_gain"][0] for row in rows.values()]
        fitted = fit_curve([math.sqrt(row["kl"]) for row in rows.values()], gains, learned=False)
    return {"by_n": rows, "fit": fitted and fitted.to_json()}


def _numbers(interval: Interval) -> list[float]:
    return [interval.value, interval.low, interval.high]


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

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "peak": self.peak}


def fit_curve(distances: Sequence[float], gains: Sequence[float], *, learned: bool) -> Curve | None:
    """Least squares of Gao's curve through gold gains over the start; None with fewer than three distances above 0."""
    rows = [(d, g) for d, g in zip(distances, gains, strict=True) if d > 0]
    if len({d for d, _ in rows}) < 3:
        return None
    d, gain = np.array(rows, np.float64).T
    terms = np.stack([d, -d * (np.log(d) if learned else d)], axis=1)
    (alpha, beta), *_ = np.linalg.lstsq(terms, gain, rcond=None)
    return Curve(float(alpha), float(beta), learned)
