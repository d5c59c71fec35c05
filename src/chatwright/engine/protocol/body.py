"""Reading a request body, and the fields that chat completions and completions share."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chatwright.config import SamplingConfig
from chatwright.engine.protocol.errors import ApiError, invalid, unsupported
from chatwright.engine.request import SamplingParams

MAX_STOPS = 4
LONGEST_STOP = 1_000
MOST_CHOICES = 16
"""Answers to one request. A server without a bound can be stopped by one request for a million."""
MOST_BIASES = 1_024
B = TypeVar("B", bound=BaseModel)
Whole = Annotated[int, Field(ge=1, le=1_000_000)]
Stop = Annotated[str, Field(min_length=1, max_length=LONGEST_STOP)]
Penalty = Annotated[float, Field(ge=-2, le=2)]


class StrictBody(BaseModel):
    """A body whose values are never converted; fields that nobody knows are passed over."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class StreamOptions(StrictBody):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class SampledBody(StrictBody):
    """What every request for text may say of how it is drawn. top_k, min_p, ... are extensions (vLLM has them too)."""

    model: str = Field(min_length=1, max_length=512)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    n: int | None = Field(None, ge=1, le=MOST_CHOICES)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    stop: Stop | Annotated[list[Stop], Field(max_length=MAX_STOPS)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = Field(None, max_length=MOST_BIASES)
    max_tokens: Whole | None = None
    user: str | None = None
    top_k: int | None = Field(None, ge=0, le=1_000_000)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, ge=0.01, le=100)
    ignore_eos: bool | None = None

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def sampling(self, defaults: SamplingConfig, budget: int | None, schema: str = "") -> SamplingParams:
        """`top_p=0` means greedy, as `temperature=0` does. Raises ApiError(400) for a bias on what is no token."""
        temperature = defaults.temperature if self.temperature is None else self.temperature
        top_p = defaults.top_p if self.top_p is None else self.top_p
        return SamplingParams(
            max_tokens=budget or defaults.max_tokens,
            temperature=temperature if top_p > 0 else 0.0,
            top_p=top_p if top_p > 0 else 1.0,
            top_k=defaults.top_k if self.top_k is None else self.top_k,
            seed=None if self.seed is None else self.seed & (2**62 - 1),
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            min_p=self.min_p or 0.0,
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            repetition_penalty=1.0 if self.repetition_penalty is None else self.repetition_penalty,
            logit_bias=_biases(self.logit_bias or {}),
            schema=schema,
            ignore_end=bool(self.ignore_eos),
        )


def _biases(raw: Mapping[str, float]) -> tuple[tuple[int, float], ...]:
    for token in raw:
        if not (token.isascii() and token.isdigit() and len(token) < 10):
            raise invalid("logit_bias", f"{token[:40]!r} is no token id; write ids as strings of digits")
    return tuple((int(token), bias) for token, bias in raw.items())


def parse_json(raw: bytes) -> dict[str, Any]:
    """The object in a request body; raises ApiError where it is no JSON object of whole characters."""
    try:
        body = json.loads(raw, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        raise ApiError(400, "the request body is not valid JSON", "invalid_json") from None
    if not isinstance(body, dict):
        raise ApiError(400, "the request body must be a JSON object", "invalid_json")
    if (where := _half_character(body)) is not None:
        raise invalid(where, "half of a surrogate pair stands alone")
    return body


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(text)
    return number


def _half_character(value: Any) -> str | None:
    """Where a lone surrogate stands in `value`, as a.0.b; None where there is none. JSON can spell half a character."""
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        path, value = waiting.pop()
        rows = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, one in rows:
            if isinstance(key, str) and not _whole(key):
                return path or "body"
            waiting.append((f"{path}.{key}" if path else str(key), one))
        if isinstance(value, str) and not _whole(value):
            return path
    return None


def _whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def checked(model: type[B], body: Mapping[str, Any], not_offered: Mapping[str, tuple[Any, ...]]) -> B:
    """`body` as `model`; raises ApiError(400) that names the parameter.

    `not_offered` holds fields that would change the answer, with the values that ask for nothing.
    """
    for name, harmless in not_offered.items():
        if name in body and body[name] not in harmless:
            raise unsupported(name)
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise complaint(error) from None


_TYPES = frozenset({"str", "int", "float", "bool", "dict", "list", "none"})


def _said(part: str) -> bool:
    """Whether a caller wrote this part of a path: where a value may be of several types, pydantic adds their names."""
    return not (part in _TYPES or "[" in part or part[:1].isupper() or part.startswith("constrained-"))


def complaint(error: ValidationError) -> ApiError:
    """The first thing that is wrong, by the name of its parameter."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    parts = [str(part) for part in first["loc"]]
    where = ".".join(part for part in parts if _said(part))
    words = first["msg"][:1].lower() + first["msg"][1:]
    code = "missing_required_parameter" if first["type"] == "missing" else "invalid_value"
    return ApiError(400, f"{where}: {words}", code, where or None)
