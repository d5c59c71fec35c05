"""The older completions: text or tokens to go on from, with no roles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from chatwright.config import SamplingConfig
from chatwright.engine.protocol.body import SampledBody, checked
from chatwright.engine.protocol.errors import invalid
from chatwright.engine.request import SamplingParams

NOT_OFFERED: dict[str, tuple[Any, ...]] = {
    "echo": (None, False), "best_of": (None, 1), "suffix": (None, ""),
}  # fmt: skip
MOST_PROMPTS = 64
MOST_LOGPROBS = 5
Token = Annotated[int, Field(ge=0, le=2**31 - 1)]
Tokens = Annotated[list[Token], Field(min_length=1)]
Prompts = (
    str
    | Tokens
    | Annotated[list[str], Field(min_length=1, max_length=MOST_PROMPTS)]
    | Annotated[list[Tokens], Field(min_length=1, max_length=MOST_PROMPTS)]
)


class CompletionBody(SampledBody):
    """The body of POST /v1/completions."""

    prompt: Prompts
    logprobs: int | None = Field(None, ge=0, le=MOST_LOGPROBS)


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """A checked request: one or more prompts, each text or tokens, and `n` answers to each."""

    model: str
    prompts: tuple[str | tuple[int, ...], ...]
    sampling: SamplingParams
    stream: bool = False
    include_usage: bool = False
    n: int = 1
    logprobs: int | None = None


def parse_completion(body: Mapping[str, Any], defaults: SamplingConfig) -> CompletionRequest:
    """`body` as a request; raises ApiError(400) that names the parameter."""
    parsed = checked(CompletionBody, body, NOT_OFFERED)
    prompts = prompts_of(parsed.prompt)
    if len(prompts) * (parsed.n or 1) > MOST_PROMPTS:
        raise invalid("n", f"prompts times n is more than {MOST_PROMPTS}")
    return CompletionRequest(
        parsed.model, prompts, parsed.sampling(defaults, parsed.max_tokens), bool(parsed.stream),
        parsed.include_usage, parsed.n or 1, parsed.logprobs,
    )  # fmt: skip


def prompts_of(prompt: str | Sequence[Any]) -> tuple[str | tuple[int, ...], ...]:
    """One text, one list of tokens, or a list of either: always as a list of prompts."""
    if isinstance(prompt, str):
        return (prompt,)
    if isinstance(prompt[0], int):
        return (tuple(prompt),)
    return tuple(one if isinstance(one, str) else tuple(one) for one in prompt)
