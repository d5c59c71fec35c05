"""A request to /v1/responses, and the chat completion that is asked for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from chatwright.engine.protocol.body import StrictBody, Whole, checked
from chatwright.engine.protocol.chat import MOST_TOOLS
from chatwright.engine.protocol.errors import invalid
from chatwright.engine.request import MOST_ALTERNATIVES

Turn = dict[str, Any]
NOT_OFFERED: dict[str, tuple[Any, ...]] = {
    "background": (None, False),
    "conversation": (None,),
    "max_tool_calls": (None,),
    "prompt": (None,),
}
INCLUDABLE = ("message.output_text.logprobs", "reasoning.encrypted_content")


class FunctionTool(StrictBody):
    type: Literal["function"]
    name: str = Field(min_length=1, max_length=64)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedChoice(StrictBody):
    type: Literal["function"]
    name: str


class TextFormat(StrictBody):
    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    description: str | None = None
    json_schema: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class TextOptions(StrictBody):
    format: TextFormat | None = None
    verbosity: Literal["medium"] | None = None


class Reasoning(StrictBody):
    effort: Literal["none"] | None = None
    summary: None = None


class StreamOptions(StrictBody):
    include_obfuscation: bool | None = None


class ResponseBody(StrictBody):
    """The body of POST /v1/responses."""

    model: str = Field(min_length=1, max_length=512)
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    previous_response_id: str | None = Field(None, max_length=120)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    store: bool | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    max_output_tokens: Whole | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MOST_ALTERNATIVES)
    tools: list[FunctionTool] | None = Field(None, max_length=MOST_TOOLS)
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    include: list[str] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    service_tier: str | None = None


def parse_response(body: Mapping[str, Any]) -> ResponseBody:
    parsed = checked(ResponseBody, body, NOT_OFFERED)
    for name in parsed.include or ():
        if name not in INCLUDABLE:
            raise invalid("include", f"{name[:80]!r} cannot be included; there is {', '.join(INCLUDABLE)}")
    return parsed


def chat_body(parsed: ResponseBody, history: Sequence[Turn]) -> tuple[dict[str, Any], list[Turn]]:
    """The chat completion to ask for, and the turns without the instructions, which the next response starts from."""
    turns = [*history, *turns_of(parsed.input)]
    if not turns:
        raise invalid("input", "it must not be empty")
    told = [{"role": "system", "content": parsed.instructions}] if parsed.instructions else []
    body: dict[str, Any] = {"model": parsed.model, "messages": [*told, *turns]}
    for name in ("temperature", "top_p", "parallel_tool_calls", "truncation", "user"):
        if (value := getattr(parsed, name)) is not None:
            body[name] = value
    if parsed.max_output_tokens is not None:
        body["max_completion_tokens"] = parsed.max_output_tokens
    if wants_logprobs(parsed):
        body |= {"logprobs": True, "top_logprobs": parsed.top_logprobs or 0}
    if parsed.tools:
        body["tools"] = [
            {"type": "function", "function": t.model_dump(exclude={"type"}, exclude_none=True)} for t in parsed.tools
        ]
    if isinstance(parsed.tool_choice, NamedChoice):
        body["tool_choice"] = {"type": "function", "function": {"name": parsed.tool_choice.name}}
    elif parsed.tool_choice is not None:
        body["tool_choice"] = parsed.tool_choice
    if (form := parsed.text.format if parsed.text else None) and form.type != "text":
        body["response_format"] = _response_format(form)
    return body, turns


def wants_logprobs(parsed: ResponseBody) -> bool:
    return bool(parsed.top_logprobs) or "message.output_text.logprobs" in (parsed.include or ())


def _response_format(form: TextFormat) -> dict[str, Any]:
    if form.type == "json_object":
        return {"type": "json_object"}
    named = {"name": form.name or "answer", "schema": form.json_schema, "strict": form.strict}
    return {"type": "json_schema", "json_schema": named}


def turns_of(given: str | Sequence[Mapping[str, Any]]) -> list[Turn]:
    """Input items as chat messages. Calls that stand side by side belong to one assistant message."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    turns: list[Turn] = []
    for index, item in enumerate(given):
        where = f"input.{index}"
        kind = item.get("type", "message")
        if kind == "message":
            turns.append(_message(item, where))
        elif kind == "function_call":
            function = {"name": _text(item, "name", where), "arguments": _text(item, "arguments", where)}
            call = {"id": _text(item, "call_id", where), "type": "function", "function": function}
            if turns and turns[-1]["role"] == "assistant":
                turns[-1].setdefault("tool_calls", []).append(call)
            else:
                turns.append({"role": "assistant", "content": None, "tool_calls": [call]})
        elif kind == "function_call_output":
            content = _content(item.get("output"), f"{where}.output")
            turns.append({"role": "tool", "tool_call_id": _text(item, "call_id", where), "content": content})
        elif kind != "reasoning":
            raise invalid(f"{where}.type", f"items of type {str(kind)[:40]!r} cannot be read")
    return turns


def _message(item: Mapping[str, Any], where: str) -> Turn:
    return {"role": _text(item, "role", where), "content": _content(item.get("content"), f"{where}.content")}


def _text(item: Mapping[str, Any], name: str, where: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise invalid(f"{where}.{name}", "it must be text")
    return value


def _content(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise invalid(where, "it must be text or a list of parts")
    texts = []
    for part in value:
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get("refusal" if kind == "refusal" else "text") if isinstance(part, dict) else None
        if kind not in ("input_text", "output_text", "text", "refusal") or not isinstance(text, str):
            raise invalid(where, "only parts of text can be read")
        texts.append(text)
    return "".join(texts)
