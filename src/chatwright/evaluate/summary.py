"""From graded answers to the figures of one stage, and of one stage against another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chatwright.config import EvaluateConfig
from chatwright.evaluate.gold import Answered
from chatwright.evaluate.statistics import Interval, bootstrap_mean, paired_wins, wilson


@dataclass(frozen=True, slots=True)
class StageSummary:
    """What was measured of one model. Proportions without observations have n = 0: not measured, never zero."""

    name: str
    gold: Interval
    skills: dict[str, Interval]
    harmful_refused: Interval
    lookalikes_refused: Interval
    facts: Interval
    arithmetic: Interval
    seconds: float

    def to_json(self) -> dict[str, object]:
        """The row of the demo's closing line; a proportion that was not measured is null."""
        return {
            "name": self.name,
            "gold": _value(self.gold),
            "gold_ci": [_number(self.gold.low), _number(self.gold.high)],
            "harmful_refused": _value(self.harmful_refused),
            "lookalikes_refused": _value(self.lookalikes_refused),
            "facts": _value(self.facts),
            "arithmetic": _value(self.arithmetic),
            "seconds": round(self.seconds, 1),
        }


def _value(interval: Interval) -> float | None:
    return _number(interval.value) if interval.n else None


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def summarise(name: str, answered: Sequence[Answered], config: EvaluateConfig, *, seconds: float) -> StageSummary:
    """Gold scores by bootstrap over prompts, proportions by Wilson's interval."""

    def mean(rows: Sequence[Answered]) -> Interval:
        return bootstrap_mean([a.score for a in rows], confidence=config.confidence, resamples=config.bootstrap)

    def share(skill: str, field: str) -> Interval:
        values = [getattr(a, field) for a in answered if a.prompt.skill == skill and getattr(a, field) is not None]
        return wilson(sum(values), len(values), confidence=config.confidence)

    skills = sorted({a.prompt.skill for a in answered})
    return StageSummary(
        name=name,
        gold=mean(answered),
        skills={skill: mean([a for a in answered if a.prompt.skill == skill]) for skill in skills},
        harmful_refused=share("harmful", "refused"),
        lookalikes_refused=share("lookalike", "refused"),
        facts=share("facts", "correct"),
        arithmetic=share("arithmetic", "correct"),
        seconds=seconds,
    )


def win_rate(ours: Sequence[Answered], theirs: Sequence[Answered], config: EvaluateConfig) -> Interval:
    """How often our answer to the same prompt scores higher, ties counting half, bootstrap over prompts."""
    wins = paired_wins([a.score for a in ours], [a.score for a in theirs])
    return bootstrap_mean(wins, confidence=config.confidence, resamples=config.bootstrap)
