"""What is asked of the engine and what it answers, step by step or whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chatwright.errors import InputError

FinishReason = Literal["stop", "length", "cancelled"]
MOST_ALTERNATIVES = 20
"""Log-probabilities of other tokens that one request may see at each position; OpenAI's bound."""


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How the next token is drawn. Temperature 0 takes the most likely; top_k 0, top_p 1 and min_p 0 cut nothing off.

    Before the temperature the logits are changed, in this order: `logit_bias` is added (pairs of token and bias),
    tokens already in the answer lose `presence_penalty` once and `frequency_penalty` per occurrence (OpenAI), and
    logits of tokens in prompt or answer are divided (where positive) or multiplied by `repetition_penalty`
    (Keskar et al. 2019). `schema` restricts the text: a JSON schema as JSON text, or "json" for any JSON value.
    """

    max_tokens: int = 128
    temperature: float = 0.7
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    schema: str = ""
    ignore_end: bool = False

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise InputError(f"max_tokens must be at least 1, not {self.max_tokens}")
        if not 0.0 <= self.temperature <= 100.0:
            raise InputError(f"temperature must lie between 0 and 100, not {self.temperature}")
        if self.top_k < 0:
            raise InputError(f"top_k must be 0 (off) or positive, not {self.top_k}")
        if not 0.0 < self.top_p <= 1.0:
            raise InputError(f"top_p must lie above 0 and at most 1, not {self.top_p}")
        if not 0.0 <= self.min_p <= 1.0:
            raise InputError(f"min_p must lie between 0 and 1, not {self.min_p}")
        for name in ("presence_penalty", "frequency_penalty"):
            if not -2.0 <= getattr(self, name) <= 2.0:
                raise InputError(f"{name} must lie between -2 and 2, not {getattr(self, name)}")
        if not 0.01 <= self.repetition_penalty <= 100.0:
            raise InputError(f"repetition_penalty must lie between 0.01 and 100, not {self.repetition_penalty}")
        if any(not -100.0 <= bias <= 100.0 for _, bias in self.logit_bias):
            raise InputError("a bias in logit_bias must lie between -100 and 100")
        if self.seed is not None and not 0 <= self.seed < 1 << 128:
            raise InputError(f"seed must lie between 0 and 2^128 - 1, not {self.seed}")
        if any(not s for s in self.stop):
            raise InputError("a stop string must not be empty")

    @property
    def reshapes(self) -> bool:
        """Whether the logits are changed before the temperature; log-probabilities then are of the changed ones."""
        penalised = self.presence_penalty or self.frequency_penalty or self.repetition_penalty != 1.0
        return bool(penalised or self.logit_bias or self.schema)


@dataclass(frozen=True, slots=True)
class Request:
    """A rendered prompt that waits for its continuation.

    `alternatives` most likely tokens come with every step, with log-probabilities under the model's own distribution.
    `adapter` names a LoRA adapter that the engine has loaded.
    """

    tokens: tuple[int, ...]
    sampling: SamplingParams = SamplingParams()
    alternatives: int = 0
    adapter: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One more token of one request.

    `text` is what became visible with it: whole characters, nothing that may still turn out to begin a stop string.
    The step that says "cancelled" holds no new token.
    `logprob` is the token's log-probability under the distribution it was drawn from before top_k, top_p and min_p
    (reshaped and tempered); `model_logprob` is that under the model's own: no bias, no penalty, temperature 1.
    `alternatives` are the most likely tokens of the latter, best first. `cached` prompt tokens were not computed again.
    """

    handle: int
    text: str
    token: int
    logprob: float
    finish_reason: FinishReason | None = None
    model_logprob: float = 0.0
    alternatives: tuple[tuple[int, float], ...] = ()
    cached: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished answer. `tokens` include the end token where the model gave one; `text` does not."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    finish_reason: FinishReason
    version: int = 0
    """Of the weights that wrote it: how often the engine had been given new ones (`Engine.swap`)."""
