"""From a checked request to what the engine is asked: prompt tokens, sampling parameters, one request a choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from chatwright.engine.protocol import ApiError, ChatRequest, CompletionRequest
from chatwright.engine.protocol.choices import Choice
from chatwright.engine.protocol.errors import invalid
from chatwright.engine.protocol.logprobs import TokenLog
from chatwright.engine.request import Request, SamplingParams
from chatwright.engine.worker import EngineLike
from chatwright.errors import InputError


@dataclass(frozen=True, slots=True)
class Asked:
    """What goes to the engine, and how its answers are read. `dropped` old turns did not fit."""

    requests: list[Request]
    choices: list[Choice]
    prompts: list[int]
    dropped: int = 0


def ask_chat(engine: EngineLike, wanted: ChatRequest) -> Asked:
    """Raises ApiError(400) where no room for an answer is left."""
    tokens, dropped = _encode(engine, wanted)
    requests = _requests(engine, tokens, wanted.sampling, wanted.n, wanted.top_logprobs)
    choices = [
        Choice(index, tools=wanted.tools, log=_log(engine) if wanted.logprobs else None) for index in range(wanted.n)
    ]
    return Asked(requests, choices, [len(tokens)], dropped)


def ask_completion(engine: EngineLike, wanted: CompletionRequest) -> Asked:
    prompts = [prompt_tokens(engine, prompt, "prompt") for prompt in wanted.prompts]
    requests = [
        request
        for tokens in prompts
        for request in _requests(engine, tokens, wanted.sampling, wanted.n, wanted.logprobs or 0)
    ]
    choices = [Choice(index, log=None if wanted.logprobs is None else _log(engine)) for index in range(len(requests))]
    return Asked(requests, choices, [len(tokens) for tokens in prompts])


def prompt_tokens(engine: EngineLike, prompt: str | tuple[int, ...], param: str) -> tuple[int, ...]:
    """Text begins as every text the model has read does; tokens are taken as they are."""
    tokens = (*engine.template.begin, *engine.tokenizer.encode(prompt)) if isinstance(prompt, str) else prompt
    if not tokens:
        raise invalid(param, "it must not be empty")
    if (worst := max(tokens)) >= engine.tokenizer.vocab_size:
        raise invalid(param, f"token {worst} is outside the vocabulary of {engine.tokenizer.vocab_size}")
    if len(tokens) >= engine.context:
        raise _too_long(len(tokens), engine, param)
    return tokens


def _encode(engine: EngineLike, wanted: ChatRequest) -> tuple[tuple[int, ...], int]:
    """Prompt tokens and how many old turns were cut."""
    messages = wanted.messages[:-1] if wanted.continues else wanted.messages
    begun = tuple(engine.tokenizer.encode(wanted.messages[-1].content)) if wanted.continues else ()
    try:
        if wanted.truncation == "auto":
            room = min(wanted.sampling.max_tokens + len(begun), engine.context // 2)
            tokens, dropped = engine.encode_cut(messages, room)
        else:
            tokens, dropped = engine.encode(messages), 0
    except InputError as error:
        raise ApiError(400, str(error), "context_length_exceeded", "messages") from None
    tokens = (*tokens, *begun)
    if len(tokens) >= engine.context:
        raise _too_long(len(tokens), engine, "messages")
    return tokens, dropped


def _too_long(count: int, engine: EngineLike, param: str) -> ApiError:
    message = f"the maximum context length of this model is {engine.context} tokens and this takes {count}; shorten it"
    return ApiError(400, message, "context_length_exceeded", param)


def _requests(
    engine: EngineLike, tokens: Sequence[int], sampling: SamplingParams, count: int, alternatives: int
) -> list[Request]:
    """`count` requests for one prompt, with seeds that follow each other.

    A budget larger than the room that is left in the context is cut to that room.
    """
    unknown = next((token for token, _ in sampling.logit_bias if token >= engine.tokenizer.vocab_size), None)
    if unknown is not None:
        raise invalid("logit_bias", f"token {unknown} is outside the vocabulary of {engine.tokenizer.vocab_size}")
    room = min(sampling.max_tokens, engine.context - len(tokens))
    seeds = [None if sampling.seed is None else sampling.seed + index for index in range(count)]
    return [Request(tuple(tokens), replace(sampling, max_tokens=room, seed=seed), alternatives) for seed in seeds]


def _log(engine: EngineLike) -> TokenLog:
    return TokenLog(engine.tokenizer.token_bytes, engine.template.stop_ids, engine.tokenizer.special_ids)
