"""From graded answers to the figures of one stage, and of one stage against another."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from chatwright.config import EvaluateConfig
from chatwright.evaluate.gold import Answered
from chatwright.evaluate.statistics import Interval, bootstrap_mean, paired_wins, proportion

HELDOUT_KINDS = ("wording", "fact")
"""What a prompt's `truth["heldout"]` says: its wording is new, though its fact may be taught; or the fact itself is."""


@dataclass(frozen=True, slots=True)
class StageSummary:
    """What was measured of one model. Proportions without observations have n = 0: not measured, never zero.

    `heldout` holds the share of right answers per skill (and "all" of them) and kind of held-out prompt; it is empty
    where no prompt says its kind.
    """

    name: str
    gold: Interval
    skills: dict[str, Interval]
    harmful_refused: Interval
    lookalikes_refused: Interval
    facts: Interval
    arithmetic: Interval
    seconds: float
    heldout: dict[str, dict[str, Interval]]

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

    def heldout_json(self) -> dict[str, dict[str, dict[str, float | None]]]:
        """Right answers per skill and kind of held-out prompt, for `evaluation.json`; not measured is null."""
        return {
            skill: {
                kind: {"value": _value(i), "low": _number(i.low), "high": _number(i.high), "n": i.n}
                for kind, i in kinds.items()
            }
            for skill, kinds in self.heldout.items()
        }


def _value(interval: Interval) -> float | None:
    return _number(interval.value) if interval.n else None


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def summarise(name: str, answered: Sequence[Answered], config: EvaluateConfig, *, seconds: float) -> StageSummary:
    """Gold scores by bootstrap, each skill weighing the same; proportions by Wilson's interval; prompts of one
    composition count as a cluster."""

    def mean(rows: Sequence[Answered]) -> Interval:
        return _mean([a.score for a in rows], rows, config)

    by_skill = {skill: [a for a in answered if a.prompt.skill == skill] for skill in _skills(answered)}
    return StageSummary(
        name=name,
        gold=mean(answered),
        skills={skill: mean(rows) for skill, rows in by_skill.items()},
        harmful_refused=_share(by_skill.get("harmful", ()), "refused", config),
        lookalikes_refused=_share(by_skill.get("lookalike", ()), "refused", config),
        facts=_share(by_skill.get("facts", ()), "correct", config),
        arithmetic=_share(by_skill.get("arithmetic", ()), "correct", config),
        seconds=seconds,
        heldout=_heldout(answered, config),
    )


def win_rate(ours: Sequence[Answered], theirs: Sequence[Answered], config: EvaluateConfig) -> Interval:
    """How often our answer to the same prompt scores higher, ties counting half; mean and interval as for gold."""
    return _mean(paired_wins([a.score for a in ours], [a.score for a in theirs]), ours, config)


def _mean(values: Sequence[float], rows: Sequence[Answered], config: EvaluateConfig) -> Interval:
    """The mean over prompts in which every skill weighs the same, with its bootstrap over compositions."""
    counts = Counter(a.prompt.skill for a in rows)
    weights = [1 / counts[a.prompt.skill] for a in rows]
    return bootstrap_mean(
        values, _compositions(rows), weights, confidence=config.confidence, resamples=config.bootstrap
    )


def _compositions(answered: Sequence[Answered]) -> list[str | None]:
    """What each prompt is made of, such as the sum it asks for; None where the prompt does not say."""
    return [a.prompt.truth.get("key") for a in answered]


def _skills(answered: Sequence[Answered]) -> list[str]:
    return sorted({a.prompt.skill for a in answered})


def _share(rows: Sequence[Answered], field: Literal["correct", "refused"], config: EvaluateConfig) -> Interval:
    """The share of those rows to which the field applies."""
    known = [a for a in rows if getattr(a, field) is not None]
    return proportion([getattr(a, field) for a in known], _compositions(known), confidence=config.confidence)


def _heldout(answered: Sequence[Answered], config: EvaluateConfig) -> dict[str, dict[str, Interval]]:
    marked = [a for a in answered if "heldout" in a.prompt.truth]
    if not marked:
        return {}
    groups = {"all": marked} | {skill: [a for a in marked if a.prompt.skill == skill] for skill in _skills(marked)}
    return {
        name: {
            kind: _share([a for a in rows if a.prompt.truth["heldout"] == kind], "correct", config)
            for kind in HELDOUT_KINDS
        }
        for name, rows in groups.items()
    }
