"""The OpenAI chat-completions shape: what a request may say, how answers, chunks and errors are spelled.

Plain values only: neither a web framework nor torch is imported, so the gateway and its tests may use it. A field
that Chatwright does not offer yet is refused where it would change the answer (`n`, `tools`, `logprobs`, ...) and
passed over where it would not (`user`, `metadata`, ...); fields nobody knows are passed over. Source: the OpenAI
OpenAPI document 2.3.0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chatwright.config import SamplingConfig
from chatwright.records import Message, Messages

MAX_STOPS = 4
DONE = b"data: [DONE]\n\n"
_ROLES: dict[str, Literal["system", "user", "assistant", "tool"]] = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool",
}  # fmt: skip
_NOT_OFFERED: dict[str, tuple[Any, ...]] = {
    "n": (None, 1),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "tools": (None, []),
    "functions": (None, []),
    "logit_bias": (None, {}),
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
    "response_format": (None, {"type": "text"}),
    "audio": (None,),
    "modalities": (None, ["text"]),
    "store": (None, False),
}
"""Fields that would change the answer, with the values that ask for nothing."""


@dataclass
class ApiError(Exception):
    """An answer in OpenAI's error body; `message` is the whole sentence the caller is shown."""

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message

    @property
    def kind(self) -> str:
        if self.status == 429:
            return "rate_limit_error"
        return "invalid_request_error" if self.status < 500 else "server_error"

    def body(self) -> dict[str, Any]:
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}


class _Part(BaseModel):
    type: str
    text: str | None = None


class _Turn(BaseModel):
    model_config = ConfigDict(strict=True)
    role: str
    content: str | list[_Part] | None = None


class _StreamOptions(BaseModel):
    model_config = ConfigDict(strict=True)
    include_usage: bool | None = None


_Whole = Annotated[int, Field(ge=1, le=1_000_000)]


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)
    model: str = Field(min_length=1, max_length=512)
    messages: list[_Turn] = Field(min_length=1)
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=0, le=1_000_000)
    max_tokens: _Whole | None = None
    max_completion_tokens: _Whole | None = None
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    stop: str | list[str] | None = None
    truncation: Literal["auto", "disabled"] | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A checked request. `truncation="auto"` (the word of OpenAI's Responses API) cuts old turns to fit."""

    model: str
    messages: Messages
    stream: bool
    include_usage: bool
    temperature: float
    top_p: float
    top_k: int
    max_tokens: int
    seed: int | None
    stop: tuple[str, ...]
    truncation: Literal["auto", "disabled"]


def parse_json(raw: bytes) -> dict[str, Any]:
    """The object in a request body; raises ApiError where it is no JSON object."""
    try:
        body = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ApiError(400, "the request body is not valid JSON", "invalid_json") from None
    if not isinstance(body, dict):
        raise ApiError(400, "the request body must be a JSON object", "invalid_json")
    return body


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def parse_chat(body: Mapping[str, Any], defaults: SamplingConfig) -> ChatRequest:
    """`body` as a request; raises ApiError(400) that names the parameter.

    `max_completion_tokens` wins over the older `max_tokens`; `top_p=0` means greedy, as `temperature=0` does.
    """
    for name, harmless in _NOT_OFFERED.items():
        if name in body and body[name] not in harmless:
            raise ApiError(400, f"{name} is not offered yet; leave it out", "unsupported_parameter", name)
    try:
        parsed = _Body.model_validate(body)
    except ValidationError as error:
        raise _complaint(error) from None
    stop = (parsed.stop,) if isinstance(parsed.stop, str) else tuple(parsed.stop or ())
    if len(stop) > MAX_STOPS or not all(stop):
        raise ApiError(400, f"stop takes at most {MAX_STOPS} strings, none of them empty", "invalid_value", "stop")
    temperature = defaults.temperature if parsed.temperature is None else parsed.temperature
    top_p = defaults.top_p if parsed.top_p is None else parsed.top_p
    budget = parsed.max_completion_tokens or parsed.max_tokens or defaults.max_tokens
    return ChatRequest(
        model=parsed.model,
        messages=tuple(_message(index, turn) for index, turn in enumerate(parsed.messages)),
        stream=bool(parsed.stream),
        include_usage=bool(parsed.stream_options and parsed.stream_options.include_usage),
        temperature=temperature if top_p > 0 else 0.0,
        top_p=top_p if top_p > 0 else 1.0,
        top_k=defaults.top_k if parsed.top_k is None else parsed.top_k,
        max_tokens=budget,
        seed=None if parsed.seed is None else parsed.seed & (2**63 - 1),
        stop=stop,
        truncation=parsed.truncation or "disabled",
    )


def _message(index: int, turn: _Turn) -> Message:
    where = f"messages.{index}"
    role = _ROLES.get(turn.role)
    if role is None:
        raise ApiError(
            400, f"{where}.role: the role {turn.role!r} does not exist; use one of {', '.join(_ROLES)}",
            "invalid_value", f"{where}.role",
        )  # fmt: skip
    if turn.content is None and role != "assistant":
        raise ApiError(400, f"{where}.content: a {role} message needs text", "invalid_value", f"{where}.content")
    parts = turn.content if isinstance(turn.content, list) else []
    if any(part.type != "text" or part.text is None for part in parts):
        raise ApiError(
            400, f"{where}.content: only parts of type text can be read", "invalid_value", f"{where}.content"
        )
    text = turn.content if isinstance(turn.content, str) else "".join(part.text or "" for part in parts)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ApiError(
            400, f"{where}.content: half of a surrogate pair stands alone", "invalid_value", f"{where}.content"
        ) from None
    return Message(role, text)


def _complaint(error: ValidationError) -> ApiError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("str", "list[_Part]", "list[str]"))
    words = first["msg"][:1].lower() + first["msg"][1:]
    code = "missing_required_parameter" if first["type"] == "missing" else "invalid_value"
    return ApiError(400, f"{where}: {words}", code, where or None)


def sse(value: Any) -> bytes:
    """One server-sent event that carries `value` as JSON."""
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every chunk of one answer repeats."""

    id: str
    created: int
    model: str
    include_usage: bool = False

    def _base(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id, "object": kind, "created": self.created, "model": self.model,
            "system_fingerprint": self.model,
        }  # fmt: skip

    def chunk(self, delta: Mapping[str, str], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": dict(delta), "logprobs": None, "finish_reason": finish_reason}
        more = {"usage": None} if self.include_usage else {}
        return self._base("chat.completion.chunk") | {"choices": [choice]} | more

    def usage_chunk(self, prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
        last = {"choices": [], "usage": usage(prompt_tokens, completion_tokens)}
        return self._base("chat.completion.chunk") | last

    def whole(self, text: str, finish_reason: str, prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
        return self._base("chat.completion") | {
            "choices": [choice], "usage": usage(prompt_tokens, completion_tokens),
        }  # fmt: skip
