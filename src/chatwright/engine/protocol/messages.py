"""The turns of a request, as the messages that a model is shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from chatwright.engine.protocol.body import StrictBody
from chatwright.engine.protocol.errors import ApiError, invalid
from chatwright.engine.protocol.tools import written_call
from chatwright.records import Message, Messages, Role

ROLES: dict[str, Role] = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool",
}  # fmt: skip


class Part(StrictBody):
    type: str
    text: str | None = None
    refusal: str | None = None


class CalledFunction(StrictBody):
    name: str = Field(min_length=1, max_length=64)
    arguments: str


class Call(StrictBody):
    id: str = Field(min_length=1, max_length=256)
    type: Literal["function"] = "function"
    function: CalledFunction


class Turn(StrictBody):
    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None


def messages_of(turns: Sequence[Turn]) -> Messages:
    """Raises ApiError(400) for a turn that cannot be shown to a model, and for a tool's answer that nobody asked for.

    Answers of tools stand in the order of the calls, whatever order they came in: the model is not shown their ids.
    """
    messages: list[Message] = []
    asked: list[str] = []
    answers: dict[str, Message] = {}
    for index, turn in enumerate(turns):
        where = f"messages.{index}"
        role = ROLES.get(turn.role)
        if role is None:
            why = f"the role {turn.role[:80]!r} does not exist; use one of {', '.join(ROLES)}"
            raise invalid(f"{where}.role", why)
        if role == "tool":
            if turn.tool_call_id not in asked:
                raise invalid(f"{where}.tool_call_id", "it must be the id of a call in the assistant message before it")
            answers[turn.tool_call_id] = Message("tool", _text(turn, role, where))
            continue
        messages += _in_order(asked, answers)
        calls = turn.tool_calls or [] if role == "assistant" else []
        asked, answers = [call.id for call in calls], {}
        text = _text(turn, role, where)
        written = [written_call(call.function.name, _arguments(call, where)) for call in calls]
        messages.append(Message(role, "\n".join([*([text] if text or not written else []), *written])))
    return (*messages, *_in_order(asked, answers))


def _in_order(asked: Sequence[str], answers: dict[str, Message]) -> list[Message]:
    return [answers[ident] for ident in dict.fromkeys(asked) if ident in answers]


def _arguments(call: Call, where: str) -> object:
    try:
        return json.loads(call.function.arguments or "{}")
    except (ValueError, RecursionError):
        return call.function.arguments  # a call that was cut off: shown as it was written


def _text(turn: Turn, role: Role, where: str) -> str:
    if turn.content is None:
        if role == "assistant":
            return turn.refusal or ""
        raise invalid(f"{where}.content", f"a {role} message needs text")
    if isinstance(turn.content, str):
        return turn.content
    texts = [_part(part, role) for part in turn.content]
    if None in texts:
        raise ApiError(
            400, f"{where}.content: only parts of type text can be read", "invalid_value", f"{where}.content"
        )
    return "".join(text or "" for text in texts)


def _part(part: Part, role: Role) -> str | None:
    if part.type == "refusal" and role == "assistant":
        return part.refusal
    return part.text if part.type == "text" else None
