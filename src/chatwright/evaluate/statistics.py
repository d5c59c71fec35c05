"""Means and proportions with their uncertainty. Pure functions; randomness is a seed.

Observations that share something, such as the same sum asked in two wordings, go the same way more often than by
chance. They form a cluster; an interval that took them for independent would be too narrow (Miller 2024,
arXiv:2411.00640).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate, its confidence interval and the number of observations. Without observations all are nan."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return "not measured" if self.n == 0 else f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


UNMEASURED = Interval(math.nan, math.nan, math.nan, 0)


def bootstrap_mean(
    values: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    weights: Sequence[float] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The mean with its percentile bootstrap interval (Efron 1979), drawing whole clusters (Davison and Hinkley 1997,
    section 3.8).

    `clusters` names the cluster of every value; None stands for a cluster of its own, and without `clusters` every
    value does. With `weights` it is the weighted mean. The interval is somewhat narrow where clusters are few (below
    about 30). Raises ValueError where the arguments differ in length.
    """
    if not len(values):
        return UNMEASURED
    sums, sizes = _cluster_totals(values, clusters, weights)
    generator = np.random.Generator(np.random.Philox(key=seed))
    drawn = generator.integers(0, len(sums), (resamples, len(sums)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    mean = float(sums.sum() / sizes.sum())
    # Where all values agree, rounding alone would leave the mean just outside of what was drawn.
    return Interval(mean, min(float(low), mean), max(float(high), mean), len(values))


def proportion(
    outcomes: Sequence[bool], clusters: Sequence[Hashable] | None = None, *, confidence: float = 0.95
) -> Interval:
    """A share with Wilson's interval at the effective sample size n^2 / sum(m^2), where m are the cluster sizes.

    That is n over the design effect (Kish 1965) of clusters whose members all go the same way: the worst case, too
    wide by up to the root of the mean cluster size where members are independent. Wilson's form with an effective
    sample size is recommended by Franco et al. 2019 (J. Survey Stat. Methodol. 7), who also show that design effects
    estimated from few clusters cover too seldom; and where all outcomes agree, as a refusal rate should, there is
    nothing to estimate one from.
    `clusters` and errors as in `bootstrap_mean`; `n` of the result counts observations.
    """
    if not len(outcomes):
        return UNMEASURED
    sums, sizes = _cluster_totals(outcomes, clusters)
    share = float(sums.sum() / sizes.sum())
    low, high = wilson(share, float(sizes.sum() ** 2 / (sizes**2).sum()), confidence=confidence)
    return Interval(share, low, high, len(outcomes))


def wilson(share: float, n: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval (Wilson 1927) of a share of n > 0 observations, sound near 0 and 1 and for small n.

    n need not be whole: an effective sample size will do.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def _cluster_totals(
    values: Sequence[float], clusters: Sequence[Hashable] | None, weights: Sequence[float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted sum and weight of every cluster, in the order in which the clusters first appear."""
    clusters = [None] * len(values) if clusters is None else clusters
    each = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    if not len(values) == len(clusters) == len(each):
        raise ValueError(f"{len(values)} values, {len(clusters)} clusters and {len(each)} weights differ in length")
    numbers: dict[Hashable, int] = {}
    belongs = [numbers.setdefault(object() if c is None else c, len(numbers)) for c in clusters]
    return np.bincount(belongs, weights=each * np.asarray(values, np.float64)), np.bincount(belongs, weights=each)


def paired_wins(ours: Sequence[float], theirs: Sequence[float], *, tolerance: float = 1e-9) -> list[float]:
    """Per prompt 1 for a win, 0 for a loss, 1/2 for a tie."""
    return [0.5 if abs(a - b) <= tolerance else float(a > b) for a, b in zip(ours, theirs, strict=True)]
