"""Asking a model the held-out prompts and grading what it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from chatwright.config import EvaluateConfig
from chatwright.engine import Engine, SamplingParams, answer
from chatwright.progress import Stage
from chatwright.records import Prompt


class Grade(Protocol):
    """A grader's verdict: score in 0..1; correct is None where correctness does not apply."""

    @property
    def score(self) -> float: ...
    @property
    def correct(self) -> bool | None: ...
    @property
    def refused(self) -> bool: ...


Grader = Callable[[Prompt, str], Grade]


@dataclass(frozen=True, slots=True)
class Answered:
    """A prompt, what the model said and the verdict; transcript and score travel together."""

    prompt: Prompt
    response: str
    score: float
    correct: bool | None
    refused: bool
    finish_reason: str


def answer_prompts(
    engine: Engine, prompts: Sequence[Prompt], grade: Grader, config: EvaluateConfig, *, seed: int, stage: Stage
) -> list[Answered]:
    """Every prompt once, each with its own seed, the same for every model that is compared."""
    sampling = SamplingParams(
        config.sampling.max_tokens, config.sampling.temperature, config.sampling.top_k, config.sampling.top_p
    )
    before = stage.done
    completions = answer(
        engine, [p.messages for p in prompts], sampling, seed=seed, on_done=lambda n: stage.advance(before + n)
    )
    answered = []
    for prompt, completion in zip(prompts, completions, strict=True):
        text = completion.text.strip()
        verdict = grade(prompt, text)
        answered.append(
            Answered(prompt, text, verdict.score, verdict.correct, verdict.refused, completion.finish_reason)
        )
    return answered
