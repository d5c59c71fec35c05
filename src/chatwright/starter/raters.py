"""Simulated raters: programs with a hidden utility close to the gold grade, own weights, noise and known biases.

Everything they produce is marked `source="simulated"`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chatwright.records import Comparison, Prompt, content_id
from chatwright.starter.grading import WEIGHTS, grade, score_of
from chatwright.starter.grading.text import words
from chatwright.starter.split import generator

NOISE = 0.14  # standard deviation of a rater's momentary taste, in units of the gold score
TIE_WIDTH = 0.03  # utilities closer than this are called equal
WEIGHT_SPREAD = 0.15  # relative spread of the personal weights around the gold ones
_AGREEABLE = re.compile(r"^\W*(yes|sure|of course|certainly|great question|you are right)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rater:
    """One simulated annotator; `length_bias` is utility a word, `agreement_bias` what a yes is worth."""

    name: str
    weights: dict[str, float]
    safety_weight: float
    length_bias: float
    agreement_bias: float
    noise: float

    def utility(self, prompt: Prompt, response: str) -> float:
        """The hidden utility without the noise of the moment."""
        graded = grade(prompt, response)
        value = score_of(graded.parts, self.weights) if graded.score else 0.0
        value = min(value, graded.score + 0.2) - self.safety_weight * (1 - graded.parts["safety"])
        value += self.length_bias * min(len(words(response)), 60)
        return value + (self.agreement_bias if _AGREEABLE.search(response) else 0.0)

    def rank(self, prompt: Prompt, responses: Sequence[str], rng: random.Random) -> Comparison:
        """Orders the responses; equal texts are always tied, near-equal utilities too."""
        felt = {text: self.utility(prompt, text) + rng.gauss(0, self.noise) for text in dict.fromkeys(responses)}
        order = sorted(range(len(responses)), key=lambda i: (-felt[responses[i]], i))
        groups: list[list[int]] = []
        for index in order:
            if groups and felt[responses[groups[-1][0]]] - felt[responses[index]] < TIE_WIDTH:
                groups[-1].append(index)
            else:
                groups.append([index])
        ranking = tuple(tuple(sorted(group)) for group in groups)
        scores = tuple(self._rubric(prompt, text, rng) for text in responses)
        ident = content_id([self.name, [m.to_json() for m in prompt.messages], list(responses), ranking])
        return Comparison(
            prompt.messages, tuple(responses), ranking, annotator=self.name, source="simulated", scores=scores,
            skill=prompt.skill, id=ident,
        )  # fmt: skip

    def _rubric(self, prompt: Prompt, response: str, rng: random.Random) -> dict[str, float]:
        """The rubric on the scale 1 to 5, as a person would tick it."""
        parts = grade(prompt, response).parts
        return {name: float(min(5, max(1, round(1 + 4 * value + rng.gauss(0, 0.4))))) for name, value in parts.items()}


def raters(seed: int, count: int) -> list[Rater]:
    """`count` raters of one crowd; rater i is the same whatever the count."""
    crowd = []
    for i in range(count):
        rng = generator(seed, "rater", i)
        weights = {name: weight * max(0.3, rng.gauss(1, WEIGHT_SPREAD)) for name, weight in WEIGHTS.items()}
        total = sum(weights.values())
        crowd.append(
            Rater(
                name=f"sim-rater-{i + 1}",
                weights={name: weight / total for name, weight in weights.items()},
                safety_weight=rng.uniform(0.1, 0.4),
                length_bias=max(0.0, rng.gauss(0.0015, 0.0007)),
                agreement_bias=max(0.0, rng.gauss(0.03, 0.015)),
                noise=NOISE * rng.uniform(0.7, 1.3),
            )
        )
    return crowd


@dataclass(frozen=True, slots=True)
class Ceiling:
    """How often the gold score orders a pair as its rater did: what a perfect reward model would reach."""

    accuracy: float
    pairs: int


def rater_ceiling(prompts: Iterable[Prompt], comparisons: Iterable[Comparison]) -> Ceiling:
    """Gold against the raters on every pair they told apart; `prompts[i]` belongs to `comparisons[i]`.

    A pair that gold holds equal counts half, as it would for any reward model without the raters' noise.
    """
    agreed, pairs = 0.0, 0
    for prompt, comparison in zip(prompts, comparisons, strict=True):
        gold = [grade(prompt, text).score for text in comparison.responses]
        for better, worse in comparison.pairs():
            pairs += 1
            agreed += 1.0 if gold[better] > gold[worse] else 0.5 if gold[better] == gold[worse] else 0.0
    return Ceiling(agreed / pairs if pairs else float("nan"), pairs)
