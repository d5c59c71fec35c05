"""What a reward model's held-out pairs say beyond one accuracy. Pure functions; written beside every reward model.

A reward model says with sigmoid(margin) how sure it is that the annotator prefers an answer (Bradley & Terry 1952).
The audit asks whether that is so (calibration), whether length decides instead of content, and whom and what it fits
less.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

BINS = 5
"""Of confidence, from 1/2 to 1."""


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """A held-out pair: the raw score of the better answer less that of the worse one, and what is known of the two."""

    margin: float
    longer: int
    """Tokens by which the better answer is longer."""
    annotator: str = ""
    skill: str = ""


def audit(pairs: Sequence[JudgedPair]) -> dict[str, Any]:
    """The audit as JSON; shares without observations are null, never zero. Margins that are not finite are left out.

    `temperature` is by how much margins must be divided to be calibrated (Guo et al. 2017): above 1 the model is too
    sure. `ece` is the expected calibration error as it stands, `ece_fitted` after the division, fitted on these same
    pairs. `score_length_correlation` is over the differences within pairs, so that what all answers to one prompt have
    in common does not count.
    """
    pairs = [p for p in pairs if math.isfinite(p.margin)]
    if not pairs:
        return {"pairs": 0}
    margins = np.array([p.margin for p in pairs], np.float64)
    longer = np.array([p.longer for p in pairs], np.float64)
    temperature = fit_temperature(margins)
    return {
        "pairs": len(pairs),
        "accuracy": float((margins > 0).mean()),
        "by_confidence": by_confidence(margins),
        "ece": expected_calibration_error(margins),
        "temperature": temperature,
        "ece_fitted": None if temperature is None else expected_calibration_error(margins / temperature),
        "better_is_shorter": _share(margins[longer < 0]),
        "better_is_longer": _share(margins[longer > 0]),
        "always_the_longer": _share(longer[longer != 0]),
        "score_length_correlation": _correlation(margins, longer),
        "by_annotator": _slices(pairs, lambda p: p.annotator),
        "by_skill": _slices(pairs, lambda p: p.skill),
    }


def by_confidence(margins: np.ndarray) -> list[dict[str, float]]:
    """Per bin of confidence that holds pairs: its mean confidence, the accuracy there, and the number of pairs."""
    confidence, right = 1 / (1 + np.exp(-np.abs(margins))), margins > 0
    places = np.minimum(((confidence - 0.5) * 2 * BINS).astype(int), BINS - 1)
    return [
        {
            "confidence": float(confidence[places == b].mean()),
            "accuracy": float(right[places == b].mean()),
            "pairs": int((places == b).sum()),
        }
        for b in range(BINS)
        if (places == b).any()
    ]


def expected_calibration_error(margins: np.ndarray) -> float:
    """Mean over pairs of |accuracy - confidence| of the pair's bin (Naeini et al. 2015)."""
    return sum(abs(b["accuracy"] - b["confidence"]) * b["pairs"] for b in by_confidence(margins)) / len(margins)


def fit_temperature(margins: np.ndarray) -> float | None:
    """The T that minimises the mean of log(1 + exp(-margin / T)).

    None where there is none: every pair is in order (the best T is 0), or so many are not that no T beats guessing.
    The loss is convex in 1/T, so its slope is bisected.
    """

    def slope(sharpness: float) -> float:
        return float(-(margins / (1 + np.exp(np.clip(margins * sharpness, -700, 700)))).mean())

    low, high = 0.0, 1.0
    if slope(low) >= 0:
        return None
    while slope(high) < 0:
        high *= 2
        if high > 1e6:
            return None
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 2 / (low + high)


def _share(margins: np.ndarray) -> dict[str, float | int | None]:
    return {"accuracy": float((margins > 0).mean()) if len(margins) else None, "pairs": len(margins)}


def _correlation(margins: np.ndarray, longer: np.ndarray) -> float | None:
    """Pearson's r about 0: which answer of a pair comes first is a matter of convention, so its sign may not matter."""
    scale = math.sqrt(float((margins**2).sum() * (longer**2).sum()))
    return float((margins * longer).sum()) / scale if scale else None


def _slices(pairs: Sequence[JudgedPair], key: Callable[[JudgedPair], str]) -> dict[str, dict[str, float | int | None]]:
    names = sorted({key(p) for p in pairs} - {""})
    return {name: _share(np.array([p.margin for p in pairs if key(p) == name])) for name in names}
