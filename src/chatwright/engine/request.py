"""What is asked of the engine and what it answers, step by step or whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chatwright.errors import InputError

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How the next token is drawn. Temperature 0 takes the most likely; top_k 0 and top_p 1 cut nothing off."""

    max_tokens: int = 128
    temperature: float = 0.7
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise InputError(f"max_tokens must be at least 1, not {self.max_tokens}")
        if not 0.0 <= self.temperature <= 100.0:
            raise InputError(f"temperature must lie between 0 and 100, not {self.temperature}")
        if self.top_k < 0:
            raise InputError(f"top_k must be 0 (off) or positive, not {self.top_k}")
        if not 0.0 < self.top_p <= 1.0:
            raise InputError(f"top_p must lie above 0 and at most 1, not {self.top_p}")
        if self.seed is not None and self.seed < 0:
            raise InputError(f"seed must be 0 or more, not {self.seed}")
        if any(not s for s in self.stop):
            raise InputError("a stop string must not be empty")


@dataclass(frozen=True, slots=True)
class Request:
    """A rendered prompt that waits for its continuation."""

    tokens: tuple[int, ...]
    sampling: SamplingParams = SamplingParams()


@dataclass(frozen=True, slots=True)
class Step:
    """One more token of one request.

    `text` is what became visible with it: whole characters, nothing that may still turn out to begin a stop string.
    The step that says "cancelled" holds no new token.
    `logprob` is the token's log-probability under the distribution it was drawn from before top_k and top_p.
    """

    handle: int
    text: str
    token: int
    logprob: float
    finish_reason: FinishReason | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished answer. `tokens` include the end token where the model gave one; `text` does not."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    finish_reason: FinishReason
