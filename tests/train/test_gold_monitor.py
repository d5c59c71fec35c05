"""The decision to stop, on histories whose truth is known."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from chatwright.config import MonitorConfig
from chatwright.train.gold_monitor import Measurement, Verdict, comparisons, judge, t_quantile

SETTINGS = MonitorConfig(prompts=100)
PLANNED = 13


def measured(step: int, gold: np.ndarray, proxy: np.ndarray, **more: float) -> Measurement:
    figures = {"kl": 0.1 * step, "entropy": 1.0, "length": 20.0, "ended": 1.0} | more
    return Measurement(step, tuple(gold.tolist()), tuple(proxy.tolist()), **figures)  # type: ignore[arg-type]


def simulated(
    rng: np.random.Generator, gold: list[float], proxy: list[float], *, prompts: int = 100, noise: float = 0.3
) -> list[Measurement]:
    """Prompts of different difficulty, the same in every measurement, and noise of sampling on top."""
    hard, easy = rng.normal(0, 0.3, prompts), rng.normal(0, 0.5, prompts)
    return [
        measured(4 * i, g + hard + rng.normal(0, noise, prompts), p + easy + rng.normal(0, noise, prompts))
        for i, (g, p) in enumerate(zip(gold, proxy, strict=True))
    ]


def followed(history: list[Measurement], settings: MonitorConfig = SETTINGS) -> tuple[int | None, Verdict]:
    """(index of the measurement at which the run is stopped, the last verdict)."""
    verdict = judge(history[:1], settings, len(history))
    for end in range(1, len(history) + 1):
        verdict = judge(history[:end], settings, len(history))
        if verdict.action == "stop":
            return end - 1, verdict
    return None, verdict


RISING = np.linspace(0.0, 3.0, PLANNED).tolist()


def test_flat_gold_is_seldom_stopped() -> None:
    """The worst case that is no fall, with a proxy that rises all the while: under the level that was asked for."""
    rng = np.random.default_rng(0)
    stops = sum(followed(simulated(rng, [0.5] * PLANNED, RISING))[0] is not None for _ in range(400))
    assert stops / 400 <= SETTINGS.false_alarm


def test_rising_gold_is_never_stopped() -> None:
    rng = np.random.default_rng(1)
    gold = np.linspace(0.5, 0.8, PLANNED).tolist()
    assert all(followed(simulated(rng, gold, RISING))[0] is None for _ in range(100))


def test_rise_and_fall_is_stopped_while_gold_is_within_a_tenth_of_its_peak() -> None:
    """What is kept: the weights of the best measurement lie within a tenth of the true peak in at least 95 of 100."""
    rng = np.random.default_rng(2)
    gold = [0.6 + 0.2 * math.sin(math.pi * i / 8) for i in range(PLANNED)]  # peak at 4, back at the start at 8
    kept, stopped = [], 0
    for _ in range(100):
        at, verdict = followed(simulated(rng, gold, RISING))
        stopped += at is not None
        kept.append(gold[verdict.best // 4])
    assert stopped >= 98
    assert sum(k >= 0.9 * max(gold) for k in kept) >= 95


def test_a_lower_level_stops_later() -> None:
    gold = [0.6, 0.7, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3]
    ends = []
    for level in (0.4, 0.05, 0.0001):
        at, _ = followed(simulated(np.random.default_rng(3), gold, RISING), MonitorConfig(false_alarm=level))
        assert at is not None
        ends.append(at)
    assert ends == sorted(ends)
    assert ends[0] < ends[-1]


def test_nothing_is_decided_before_the_window_is_full() -> None:
    rng = np.random.default_rng(4)
    history = simulated(rng, [0.9, 0.1, 0.1, 0.1], [0.0, 1.0, 2.0, 3.0], noise=0.01)
    for window in (1, 2, 3):
        at, verdict = followed(history, MonitorConfig(window=window))
        assert at == window
        assert verdict.best == 0


def test_a_fall_of_both_is_an_alarm_and_no_stop() -> None:
    rng = np.random.default_rng(5)
    history = simulated(rng, [0.9, 0.2, 0.1], [3.0, 1.0, 0.0])
    verdict = judge(history, SETTINGS, PLANNED)
    assert verdict.action == "alarm"
    assert "has not risen" in verdict.alarms["gold"]
    assert verdict.best == 0


def test_the_reason_says_what_was_measured() -> None:
    history = simulated(np.random.default_rng(6), [0.5, 0.9, 0.4, 0.4], [0.0, 1.0, 2.0, 3.0], noise=0.0)
    verdict = judge(history, SETTINGS, PLANNED)
    assert verdict.action == "stop"
    assert verdict.best == 4
    golds = [float(np.mean(m.gold)) for m in history]
    assert f"gold fell from {golds[1]:.3f} to {golds[2]:.3f}" in verdict.reason
    assert "since iteration 4, while the proxy rose from" in verdict.reason


def test_equal_bests_are_the_earliest() -> None:
    same = np.full(40, 0.5)
    history = [measured(step, same, same) for step in (0, 4, 8)]
    assert judge(history, SETTINGS, PLANNED) == Verdict("go on", 0)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("length", {"length": 31.0}),
        ("length", {"length": 9.0}),
        ("ended", {"ended": 0.85}),
        ("entropy", {"entropy": 0.4}),
        ("disagreement", {"disagreement": 0.5}),
        ("agreement", {"agreement": 0.35}),
    ],
)
def test_a_drift_is_an_alarm_of_its_kind_alone(kind: str, change: dict[str, float]) -> None:
    even = np.full(40, 0.5)
    start = measured(0, even, even, disagreement=0.2, agreement=0.2)
    calm = replace(start, step=4)
    assert judge([start, calm], SETTINGS, PLANNED).action == "go on"
    verdict = judge([start, calm, replace(calm, step=8, **change)], SETTINGS, PLANNED)  # type: ignore[arg-type]
    assert verdict.action == "alarm"
    assert list(verdict.alarms) == [kind]
    assert verdict.reason == verdict.alarms[kind]


def test_one_reward_model_never_disagrees_with_itself() -> None:
    even = np.full(40, 0.5)
    assert not judge([measured(0, even, even), measured(4, even, even)], SETTINGS, PLANNED).alarms


@pytest.mark.parametrize("window", [1, 2, 3])
def test_comparisons_are_all_pairs_a_run_can_make(window: int) -> None:
    for planned in range(window + 1, 12):
        pairs = [(best, now) for now in range(planned) for best in range(planned) if now - best >= window]
        assert comparisons(planned, window) == len(pairs)


@pytest.mark.parametrize("freedom", [29, 60, 255, 5000])
def test_quantile_is_that_of_students_t(freedom: int) -> None:
    for level in (0.2, 0.05, 1e-3, 1e-5):
        assert t_quantile(level, freedom) == pytest.approx(stats.t.isf(level, freedom), rel=0.01)


def test_a_measurement_comes_back_from_json_as_it_was() -> None:
    made = measured(8, np.random.default_rng(7).normal(size=33), np.random.default_rng(8).normal(size=33))
    again = Measurement.from_json(json.loads(json.dumps(made.to_json())))
    assert again == made
    summary = again.summary()
    assert summary["gold"] == pytest.approx(np.mean(made.gold))
    assert summary["gold_error"] == pytest.approx(stats.sem(made.gold))
