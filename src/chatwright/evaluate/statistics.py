"""Means and proportions with their uncertainty. Pure functions; randomness is a seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    values: Sequence[float], *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """The mean with its percentile bootstrap interval (Efron 1979)."""
    if not len(values):
        return UNMEASURED
    array = np.asarray(values, np.float64)
    generator = np.random.Generator(np.random.Philox(key=seed))
    means = array[generator.integers(0, len(array), (resamples, len(array)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(array.mean()), float(low), float(high), len(array))


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> Interval:
    """A proportion with its score interval (Wilson 1927), sound near 0 and 1 and for small n."""
    if n == 0:
        return UNMEASURED
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Interval(p, max(0.0, centre - half), min(1.0, centre + half), n)


def paired_wins(ours: Sequence[float], theirs: Sequence[float], *, tolerance: float = 1e-9) -> list[float]:
    """Per prompt 1 for a win, 0 for a loss, 1/2 for a tie."""
    return [0.5 if abs(a - b) <= tolerance else float(a > b) for a, b in zip(ours, theirs, strict=True)]
