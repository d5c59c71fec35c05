"""When to stop optimising a proxy: a pure decision over what was measured so far.

A reward model stands in for what is wanted. Optimised far enough, it goes on rising while an independent measure of the
wanted, the gold, falls (Gao, Schulman & Hilton 2022). Signals from inside the run, such as KL, entropy or length, do
not tell when; so only gold stops a run, and everything else is an alarm for people.

The test. Every measurement asks the same held-out prompts with the same seeds, so prompts are paired. The mean of
the newest `window` measurements is set against the best one, prompt by prompt, as soon as so many have followed it. The
run stops where gold is lower by more than a one-sided t quantile of its standard error and the proxy is higher in the
same way. The best is the luckiest of several, and it is looked at many times, so gold's level is `false_alarm`
divided by the number of (measurement, earlier measurement) pairs of the whole run (Bonferroni). A gold that stays flat
is therefore stopped in at most `false_alarm` of all runs (simulated: docs/methods/overoptimisation.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import NormalDist, fmean, stdev
from typing import Any, Literal

from chatwright.config import MonitorConfig

PROXY_LEVEL = 0.05
"""Of the test that the proxy rose. It needs no correction: it only ever keeps a run from being stopped."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The policy after `step` iterations on the held-out prompts; single figures are means over its answers.

    `gold` and `proxy` hold a number per unit: a prompt, or several that ask for the same thing. `kl` is in nats an
    answer, `entropy` in nats a token, `length` in tokens, `disagreement` in units of reward. `agreement` is the share
    of wrong users who are told that they are right; None where that is not measured.
    """

    step: int
    gold: tuple[float, ...]
    proxy: tuple[float, ...]
    kl: float
    entropy: float
    length: float
    ended: float
    disagreement: float = 0.0
    agreement: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> Measurement:
        return Measurement(**{**row, "gold": tuple(row["gold"]), "proxy": tuple(row["proxy"])})

    def summary(self) -> dict[str, Any]:
        """The row of a curve: means, and gold's standard error."""
        means = {"gold": fmean(self.gold), "gold_error": standard_error(self.gold), "proxy": fmean(self.proxy)}
        others = {k: v for k, v in asdict(self).items() if k not in ("gold", "proxy", "step") and v is not None}
        return {"step": self.step, **means, **others}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do next. `best` is the step whose weights are the best by gold; `alarms` are sentences by kind."""

    action: Literal["go on", "alarm", "stop"]
    best: int
    reason: str = ""
    alarms: dict[str, str] = field(default_factory=dict)


def judge(history: Sequence[Measurement], settings: MonitorConfig, planned: int) -> Verdict:
    """The verdict after the last of `history`, whose first entry is the start; `planned` measurements in all."""
    best = max(range(len(history)), key=lambda i: (fmean(history[i].gold), -i))
    alarms = _drifts(history[0], history[-1], settings)
    newest = history[-settings.window :]
    if len(history) - 1 - best >= settings.window:
        fell = _change([m.gold for m in newest], history[best].gold)
        rose = _change([m.proxy for m in newest], history[best].proxy)
        looks = comparisons(planned, settings.window)
        if fell.below(settings.false_alarm / looks):
            words = f"gold {fell.words()} since iteration {history[best].step}"
            if rose.above(PROXY_LEVEL):
                reason = f"{words}, while the proxy {rose.words()}"
                return Verdict("stop", history[best].step, reason, alarms)
            alarms["gold"] = f"{words}, though the proxy has not risen: the run is coming apart"
    return Verdict("alarm" if alarms else "go on", history[best].step, "; ".join(alarms.values()), alarms)


def comparisons(planned: int, window: int) -> int:
    """How often the newest of `planned` measurements can be set against an earlier one, all in all; at least 1."""
    late = planned - window
    return max(1, late * (late + 1) // 2)


@dataclass(frozen=True, slots=True)
class Change:
    """A paired difference of means over `n` units, newest minus best."""

    before: float
    after: float
    error: float
    n: int

    def below(self, level: float) -> bool:
        return self.before - self.after > t_quantile(level, self.n - 1) * self.error

    def above(self, level: float) -> bool:
        return self.after - self.before > t_quantile(level, self.n - 1) * self.error

    def words(self) -> str:
        verb = "fell" if self.after < self.before else "rose"
        return f"{verb} from {self.before:.3f} to {self.after:.3f} (standard error {self.error:.3f})"


def _change(newest: Sequence[Sequence[float]], best: Sequence[float]) -> Change:
    pooled = [fmean(values) for values in zip(*newest, strict=True)]
    differences = [after - before for after, before in zip(pooled, best, strict=True)]
    return Change(fmean(best), fmean(pooled), standard_error(differences), len(best))


def standard_error(values: Sequence[float]) -> float:
    return stdev(values) / math.sqrt(len(values))


def t_quantile(level: float, freedom: int) -> float:
    """The point that Student's t passes with chance `level`, by Cornish and Fisher's expansion of the normal's.

    Within 1 % for 29 degrees of freedom and levels down to 1e-5 (Abramowitz & Stegun 1964, 26.7.5).
    """
    z = -NormalDist().inv_cdf(level)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return sum(term / freedom**power for power, term in enumerate(terms))


def _drifts(start: Measurement, now: Measurement, settings: MonitorConfig) -> dict[str, str]:
    """What has moved away from the start, each as a sentence."""
    alarms: dict[str, str] = {}
    if abs(now.length - start.length) > settings.length_drift * start.length:
        alarms["length"] = f"answers went from {start.length:.1f} to {now.length:.1f} tokens"
    if now.ended < start.ended - settings.ended_drop:
        alarms["ended"] = f"the share of answers with an end fell from {start.ended:.2f} to {now.ended:.2f}"
    if now.entropy < settings.entropy_floor * start.entropy:
        alarms["entropy"] = f"the entropy fell from {start.entropy:.2f} to {now.entropy:.2f} nats a token"
    if now.disagreement > settings.disagreement_rise * start.disagreement > 0:
        alarms["disagreement"] = (
            f"the reward models are {now.disagreement:.2f} apart instead of {start.disagreement:.2f}"
        )
    if now.agreement is not None and now.agreement > (start.agreement or 0.0) + settings.agreement_rise:
        alarms["agreement"] = (
            f"users who are wrong are told that they are right in {now.agreement:.2f} of cases instead of "
            f"{start.agreement or 0.0:.2f}"
        )
    return alarms
