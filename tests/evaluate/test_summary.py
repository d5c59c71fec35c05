"""Figures over all skills weigh the skills alike, however often each is asked."""

from __future__ import annotations

import pytest

from chatwright.config import EvaluateConfig
from chatwright.evaluate import Answered, summarise, win_rate
from chatwright.records import Message, Prompt

CONFIG = EvaluateConfig(bootstrap=200)


def answers(scores: dict[str, list[float]]) -> list[Answered]:
    return [
        Answered(Prompt((Message("user", f"{skill} {i}"),), skill=skill, truth={"key": f"{skill} {i}"}), "", score,
                 None, False, "stop")
        for skill, given in scores.items()
        for i, score in enumerate(given)
    ]  # fmt: skip


def test_a_skill_asked_more_often_weighs_no_more() -> None:
    made = summarise("x", answers({"facts": [0.0] * 30, "story": [1.0] * 10}), CONFIG, seconds=1.0)
    assert made.gold.value == pytest.approx(0.5)
    assert made.gold.n == 40
    assert made.skills["facts"].value == 0.0


def test_win_rate_is_the_mean_over_skills() -> None:
    ours = answers({"facts": [0.2] * 12, "story": [1.0] * 4})
    theirs = answers({"facts": [0.8] * 12, "story": [0.5] * 4})
    assert win_rate(ours, theirs, CONFIG).value == pytest.approx(0.5)
    assert win_rate(ours, answers({"facts": [0.2] * 12, "story": [1.0] * 4}), CONFIG).value == pytest.approx(0.5)
    assert win_rate(theirs, theirs, CONFIG).low == pytest.approx(0.5)
