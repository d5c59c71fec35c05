"""The audit of a reward model against worlds whose answer is known, and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from chatwright.train.reward_audit import JudgedPair, audit, by_confidence, expected_calibration_error, fit_temperature


def drawn(temperature: float, count: int = 40_000, seed: int = 0) -> np.ndarray:
    """Margins of a model that is calibrated once they are divided by `temperature`; the sign says who was preferred."""
    rng = np.random.default_rng(seed)
    size = np.abs(rng.normal(0, 1.5, count)) * temperature
    right = rng.random(count) < 1 / (1 + np.exp(-size / temperature))
    return np.where(right, size, -size)


def test_a_calibrated_model_has_temperature_1_and_no_calibration_error() -> None:
    margins = drawn(1.0)
    assert fit_temperature(margins) == pytest.approx(1.0, abs=0.05)
    assert expected_calibration_error(margins) < 0.01


@pytest.mark.parametrize("temperature", [0.4, 3.0])
def test_the_temperature_of_a_model_too_shy_or_too_sure_is_found(temperature: float) -> None:
    margins = drawn(temperature)
    fitted = fit_temperature(margins)
    assert fitted == pytest.approx(temperature, rel=0.06)
    made = audit([JudgedPair(float(m), 0) for m in margins[:4000]])
    assert made["ece_fitted"] < 0.03 < made["ece"]


@given(st.lists(st.floats(-6, 6).filter(lambda x: abs(x) > 1e-3), min_size=2, max_size=30))
def test_the_temperature_is_the_minimum_that_scipy_finds(margins: list[float]) -> None:
    values = np.array(margins)
    fitted = fit_temperature(values)

    def loss(log_sharpness: float) -> float:
        return float(np.logaddexp(0, -values * math.exp(log_sharpness)).mean())

    if (values > 0).all() or values.mean() <= 0:
        assert fitted is None
        return
    assert fitted is not None
    found = minimize_scalar(loss, bounds=(-15, 13), method="bounded", options={"xatol": 1e-10})
    assert loss(-math.log(fitted)) <= found.fun + 1e-9


def test_bins_hold_every_pair_once() -> None:
    margins = np.array([-9.0, -0.1, 0.0, 0.1, 0.5, 1.5, 2.5, 40.0])
    bins = by_confidence(margins)
    assert sum(b["pairs"] for b in bins) == len(margins)
    assert all(0.5 <= b["confidence"] <= 1 for b in bins)
    assert bins[-1] == {"confidence": pytest.approx(1.0, abs=0.05), "accuracy": pytest.approx(2 / 3), "pairs": 3}


def test_a_model_that_only_counts_words_is_found_out() -> None:
    rng = np.random.default_rng(1)
    longer = rng.integers(-9, 10, 500)
    pairs = [JudgedPair(0.3 * float(n), int(n)) for n in longer]
    made = audit(pairs)
    assert made["score_length_correlation"] == pytest.approx(1.0)
    assert made["better_is_shorter"] == {"accuracy": 0.0, "pairs": int((longer < 0).sum())}
    assert made["better_is_longer"]["accuracy"] == 1.0
    assert made["always_the_longer"]["accuracy"] == pytest.approx((longer > 0).sum() / (longer != 0).sum())
    fair = audit([JudgedPair(float(m), int(n)) for m, n in zip(rng.normal(1, 1, 500), longer, strict=True)])
    assert abs(fair["score_length_correlation"]) < 0.15


def test_slices_say_whom_and_what_it_fits_less() -> None:
    pairs = [JudgedPair(1.0, 0, "ann", "facts"), JudgedPair(-1.0, 0, "bob", "facts"), JudgedPair(2.0, 0, "ann", "")]
    made = audit(pairs)
    assert made["by_annotator"] == {"ann": {"accuracy": 1.0, "pairs": 2}, "bob": {"accuracy": 0.0, "pairs": 1}}
    assert made["by_skill"] == {"facts": {"accuracy": 0.5, "pairs": 2}}
    assert made["accuracy"] == pytest.approx(2 / 3)


def test_what_was_not_measured_is_null() -> None:
    assert audit([]) == {"pairs": 0}
    made = audit([JudgedPair(1.0, 0)])
    assert made["temperature"] is None
    assert made["ece_fitted"] is None
    assert made["better_is_shorter"] == {"accuracy": None, "pairs": 0}
    assert made["score_length_correlation"] is None


def test_margins_that_are_not_finite_are_left_out() -> None:
    pairs = [JudgedPair(m, 1) for m in (1.0, -0.5, math.nan, math.inf)]
    assert audit(pairs) == audit(pairs[:2])
    assert audit(pairs[2:]) == {"pairs": 0}
