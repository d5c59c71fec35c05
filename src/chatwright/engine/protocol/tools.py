"""Functions that a model may call: how they are described to it, how it writes a call, how a call is read.

A call is JSON between tags, as most open models are taught: <tool_call>{"name": ..., "arguments": {...}}</tool_call>.
Where a call is forced (tool_choice required, or a function by name) the text is restricted to the JSON alone.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

OPEN, CLOSE = "<tool_call>", "</tool_call>"
Choice = Literal["none", "auto", "required", "named"]
Delta = dict[str, Any]
State = Literal["text", "head", "arguments", "tail"]
_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)')
_TAIL = re.compile(r"\s*\}?\s*")


@dataclass(frozen=True, slots=True)
class Tool:
    """One function. `parameters` is a JSON schema."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The functions of a request, and whether one must be called. `name` is set where `choice` is "named"."""

    tools: tuple[Tool, ...]
    choice: Choice = "auto"
    name: str = ""
    parallel: bool = True

    @property
    def offered(self) -> tuple[Tool, ...]:
        return tuple(tool for tool in self.tools if not self.name or tool.name == self.name)

    @property
    def forced(self) -> bool:
        return self.choice in ("required", "named")

    def described(self) -> str:
        """What the model is told of the functions, for its system message."""
        rows = [{"name": t.name, "description": t.description, "parameters": t.parameters} for t in self.tools]
        listed = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        return (
            f"Functions you can call, one a line:\n<tools>\n{listed}\n</tools>\n"
            f'A call is written as {OPEN}{{"name": the function\'s name, "arguments": an object}}{CLOSE}. '
            "Its result then comes in the next message."
        )

    def schema(self) -> str:
        """The JSON schema of one call of a function that may be called."""
        calls = [_call_schema(tool) for tool in self.offered]
        return json.dumps(calls[0] if len(calls) == 1 else {"anyOf": calls}, ensure_ascii=False)


def _call_schema(tool: Tool) -> dict[str, Any]:
    parameters = tool.parameters or {"type": "object"}
    return {
        "type": "object", "properties": {"name": {"const": tool.name}, "arguments": parameters},
        "required": ["name", "arguments"], "additionalProperties": False,
    }  # fmt: skip


def written_call(name: str, arguments: object) -> str:
    """A call as a model writes it, for the turns that it has already said."""
    return f"{OPEN}{json.dumps({'name': name, 'arguments': arguments}, ensure_ascii=False)}{CLOSE}"


def new_call_id() -> str:
    return f"call_{secrets.token_hex(12)}"


class ToolStream:
    """Reads calls out of a growing text. `push` and `finish` return deltas in OpenAI's shape, content and calls.

    Text waits while its end may begin a tag, so a tag is never shown. The arguments of a call come as they are
    written, once its name is known. What stands between tags and is no call of a known function is content; a call
    that is cut off before its name is whole is left out.
    """

    def __init__(self, names: Sequence[str], *, forced: bool = False, new_id: Callable[[], str] = new_call_id) -> None:
        self._names, self._new_id = frozenset(names), new_id
        self._buffer = ""
        self._state: State = "head" if forced else "text"
        self._depth, self._quoted, self._escaped = 0, False, False
        self.begun = 0
        self.ended = 0

    def push(self, text: str) -> list[Delta]:
        self._buffer += text
        deltas: list[Delta] = []
        while (taken := self._take(deltas)) is not None:
            self._state = taken
        return deltas

    def finish(self) -> list[Delta]:
        """The text has ended: what waited is content, unless it is the beginning of a call."""
        deltas: list[Delta] = []
        rest, self._buffer = self._buffer, ""
        if self._state == "head":
            self._read_block(rest, deltas, cut=True)
        elif self._state == "text" and (rest.strip() or not self.begun):
            deltas += _content(rest)
        elif self._state == "tail":
            self.ended += 1
        self._state = "text"
        return deltas

    def _take(self, deltas: list[Delta]) -> State | None:
        """Takes what can be read from the buffer; the next state, or None where more text is needed."""
        if self._state == "text":
            return self._take_text(deltas)
        if self._state == "head":
            return self._take_head(deltas)
        if self._state == "arguments":
            return self._take_arguments(deltas)
        return self._take_tail()

    def _take_text(self, deltas: list[Delta]) -> State | None:
        before, tag, after = self._buffer.partition(OPEN)
        if tag:
            deltas += _content(before.rstrip())
            self._buffer = after
            return "head"
        if self.begun:
            self._buffer = self._buffer.lstrip()
        held = _waiting(self._buffer)
        shown = self._buffer[: len(self._buffer) - held]
        self._buffer = self._buffer[len(shown) :]
        deltas += _content(shown)
        return None

    def _take_head(self, deltas: list[Delta]) -> State | None:
        if (head := _HEAD.match(self._buffer)) and (name := _name(head[1])) in self._names:
            deltas.append(self._begin(name))
            self._buffer = self._buffer[head.end() :]
            return "arguments"
        block, tag, after = self._buffer.partition(CLOSE)
        if not tag:
            return None
        self._buffer = after
        self._read_block(block, deltas)
        return "text"

    def _take_arguments(self, deltas: list[Delta]) -> State | None:
        end = self._end_of_object()
        taken = self._buffer[:end]
        if taken:
            deltas.append(_fragment(self.begun - 1, taken))
        self._buffer = self._buffer[end:]
        return "tail" if self._depth == 0 and taken else None

    def _take_tail(self) -> State | None:
        rest = self._buffer[_TAIL.match(self._buffer).end() :]  # type: ignore[union-attr]  # it matches the empty text
        if CLOSE.startswith(rest) and rest != CLOSE:
            return None
        self._buffer = rest.removeprefix(CLOSE)
        self.ended += 1
        return "text"

    def _end_of_object(self) -> int:
        """How much of the buffer belongs to the object that is open; a brace inside a string closes nothing."""
        for at, letter in enumerate(self._buffer):
            if self._quoted:
                if self._escaped:
                    self._escaped = False
                elif letter == "\\":
                    self._escaped = True
                elif letter == '"':
                    self._quoted = False
            elif letter == '"':
                self._quoted = True
            elif letter in "{[":
                self._depth += 1
            elif letter in "}]":
                self._depth -= 1
                if self._depth == 0:
                    return at + 1
        return len(self._buffer)

    def _read_block(self, block: str, deltas: list[Delta], *, cut: bool = False) -> None:
        """A whole call in another order or spelling than the usual one; content where it is none.

        What was `cut` off in the middle of an object is neither.
        """
        try:
            call = json.loads(block)
        except (ValueError, RecursionError):
            call = None
        name = call.get("name") if isinstance(call, dict) else None
        if not isinstance(call, dict) or name not in self._names:
            deltas += [] if cut and block.lstrip().startswith("{") else _content(block)
            return
        arguments = call.get("arguments", call.get("parameters", {}))
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        deltas += [self._begin(name), _fragment(self.begun - 1, text)]
        self.ended += 1

    def _begin(self, name: str) -> Delta:
        self._depth, self._quoted, self._escaped = 0, False, False
        self.begun += 1
        function = {"name": name, "arguments": ""}
        call = {"index": self.begun - 1, "id": self._new_id(), "type": "function", "function": function}
        return {"tool_calls": [call]}


def _content(text: str) -> list[Delta]:
    return [{"content": text}] if text else []


def _fragment(index: int, text: str) -> Delta:
    return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}


def _name(quoted: str) -> str:
    try:
        return str(json.loads(quoted))
    except ValueError:
        return ""


def _waiting(text: str) -> int:
    """Length of the end of `text` that may be the beginning of a tag, with the white space before it."""
    length = next((n for n in range(min(len(OPEN) - 1, len(text)), 0, -1) if text.endswith(OPEN[:n])), 0)
    bare = text[: len(text) - length]
    return length + len(bare) - len(bare.rstrip())
