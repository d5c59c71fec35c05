"""A chat-completions request: what it may say, and what is asked of the engine for it.

A field that Chatwright does not offer is refused where it would change the answer (`audio`, `functions`, ...) and
passed over where it would not (`user`, `service_tier`, ...). Source: the OpenAI OpenAPI document 2.3.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from chatwright.config import SamplingConfig
from chatwright.engine.protocol.body import SampledBody, StrictBody, Whole, checked
from chatwright.engine.protocol.errors import invalid, unsupported
from chatwright.engine.protocol.formats import LARGEST_SCHEMA, ResponseFormat, schema_of
from chatwright.engine.protocol.messages import Turn, messages_of
from chatwright.engine.protocol.tools import Tool, ToolUse
from chatwright.engine.request import MOST_ALTERNATIVES, SamplingParams
from chatwright.records import Message, Messages

MOST_TOOLS = 128
NOT_OFFERED: dict[str, tuple[Any, ...]] = {
    "functions": (None, []),
    "function_call": (None, "none"),
    "audio": (None,),
    "modalities": (None, ["text"]),
    "reasoning_effort": (None, "none"),
    "verbosity": (None, "medium"),
    "web_search_options": (None,),
    "moderation": (None,),
    "store": (None, False),
}
"""Fields that would change the answer, with the values that ask for nothing. `store` is the gateway's."""


class FunctionBody(StrictBody):
    name: str = Field(min_length=1, max_length=64, pattern="^[a-zA-Z0-9_-]+$")
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolBody(StrictBody):
    type: Literal["function"]
    function: FunctionBody


class NamedFunction(StrictBody):
    name: str


class NamedTool(StrictBody):
    type: Literal["function"]
    function: NamedFunction


class AllowedTools(StrictBody):
    mode: Literal["auto", "required"]
    tools: list[NamedTool] = Field(min_length=1)


class AllowedChoice(StrictBody):
    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


class ChatBody(SampledBody):
    """The body of POST /v1/chat/completions."""

    messages: list[Turn] = Field(min_length=1)
    max_completion_tokens: Whole | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MOST_ALTERNATIVES)
    response_format: ResponseFormat | None = None
    tools: list[ToolBody] | None = Field(None, max_length=MOST_TOOLS)
    tool_choice: Literal["none", "auto", "required"] | NamedTool | AllowedChoice | None = None
    parallel_tool_calls: bool | None = None
    metadata: dict[str, str] | None = Field(None, max_length=16)
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prediction: dict[str, Any] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    continue_final_message: bool | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A checked request. `truncation="auto"` (the word of OpenAI's Responses API) cuts old turns to fit.

    `messages` already tell the model of its tools; `tools` is None where it has none. With `continues` (a word of
    vLLM's) the last message is the beginning of the answer, which goes on from there.
    """

    model: str
    messages: Messages
    sampling: SamplingParams
    stream: bool = False
    include_usage: bool = False
    n: int = 1
    logprobs: bool = False
    top_logprobs: int = 0
    tools: ToolUse | None = None
    truncation: Literal["auto", "disabled"] = "disabled"
    continues: bool = False


def parse_chat(body: Mapping[str, Any], defaults: SamplingConfig) -> ChatRequest:
    """`body` as a request; raises ApiError(400) that names the parameter.

    `max_completion_tokens` wins over the older `max_tokens`.
    """
    parsed = checked(ChatBody, body, NOT_OFFERED)
    if parsed.top_logprobs and not parsed.logprobs:
        raise invalid("top_logprobs", "it needs logprobs: true")
    tools = _tool_use(parsed)
    schema = schema_of(parsed.response_format)
    if schema and tools is not None:
        raise unsupported("response_format", "cannot restrict an answer that may call tools; use tool_choice none")
    if tools is not None and tools.forced:
        schema = tools.schema()
        if len(schema) > LARGEST_SCHEMA:
            raise invalid("tools", f"their schemas are longer than {LARGEST_SCHEMA:,} characters")
    messages = messages_of(parsed.messages)
    continues = bool(parsed.continue_final_message)
    if continues and (messages[-1].role != "assistant" or len(messages) < 2 or not messages[-1].content):
        raise invalid("continue_final_message", "the last of several messages must be an assistant's, with text")
    return ChatRequest(
        model=parsed.model,
        messages=messages if tools is None else _told(messages, tools.described()),
        sampling=parsed.sampling(defaults, parsed.max_completion_tokens or parsed.max_tokens, schema),
        stream=bool(parsed.stream),
        include_usage=parsed.include_usage,
        n=parsed.n or 1,
        logprobs=bool(parsed.logprobs),
        top_logprobs=parsed.top_logprobs or 0,
        tools=tools,
        truncation=parsed.truncation or "disabled",
        continues=continues,
    )


def _tool_use(parsed: ChatBody) -> ToolUse | None:
    """None where no function may be called."""
    functions = [tool.function for tool in parsed.tools or []]
    tools = tuple(Tool(f.name, f.description or "", f.parameters or {}) for f in functions)
    names = [tool.name for tool in tools]
    if len(set(names)) < len(names):
        raise invalid("tools", "two functions have the same name")
    choice = parsed.tool_choice
    if not tools:
        if choice not in (None, "none", "auto"):
            raise invalid("tool_choice", "there are no tools to choose from")
        return None
    if choice == "none":
        return None
    parallel = parsed.parallel_tool_calls is not False
    if isinstance(choice, NamedTool):
        if choice.function.name not in names:
            raise invalid("tool_choice", f"there is no function {choice.function.name[:80]!r} among the tools")
        return ToolUse(tools, "named", choice.function.name, parallel=False)
    if isinstance(choice, AllowedChoice):
        allowed = {tool.function.name for tool in choice.allowed_tools.tools}
        if unknown := allowed - set(names):
            raise invalid("tool_choice", f"there is no function {min(unknown)[:80]!r} among the tools")
        return ToolUse(tuple(t for t in tools if t.name in allowed), choice.allowed_tools.mode, parallel=parallel)
    return ToolUse(tools, choice or "auto", parallel=parallel)


def _told(messages: Messages, block: str) -> Messages:
    """`block` at the end of the system message, which is made where there is none."""
    if messages[0].role == "system":
        return (Message("system", f"{messages[0].content}\n\n{block}"), *messages[1:])
    return (Message("system", block), *messages)
