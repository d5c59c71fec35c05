"""Reading an upstream's server-sent events: the chunks in a byte stream, put together into one answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

LARGEST_EVENT = 4_000_000
"""Bytes of one event; an upstream that sends no line end must not fill memory."""


class EventReader:
    """`feed` returns the JSON objects of the events that became whole. Broken events are passed over."""

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, block: bytes) -> Iterator[dict[str, Any]]:
        *lines, self._tail = (self._tail + block).split(b"\n")
        if len(self._tail) > LARGEST_EVENT:
            self._tail = b""
        for line in lines:
            if line.startswith(b"data:") and line[5:].strip() != b"[DONE]":
                try:
                    value = json.loads(line[5:])
                except ValueError:
                    continue
                if isinstance(value, dict):
                    yield value


class Collector:
    """Puts the chunks of one stream together into the object that the same request without `stream` gets."""

    def __init__(self) -> None:
        self.base: dict[str, Any] = {}
        self.error: dict[str, Any] | None = None
        self._choices: dict[int, dict[str, Any]] = {}

    def add(self, chunk: dict[str, Any]) -> None:
        if isinstance(chunk.get("error"), dict):
            self.error = chunk["error"]
            return
        if not self.base:
            self.base = {key: chunk.get(key) for key in ("id", "object", "created", "model", "system_fingerprint")}
            self.base["object"] = str(self.base["object"]).removesuffix(".chunk")
        if chunk.get("usage"):
            self.base["usage"] = chunk["usage"]
        for choice in chunk.get("choices") or ():
            self._add_choice(choice)

    def _add_choice(self, choice: dict[str, Any]) -> None:
        index = choice.get("index", 0)
        whole = self._choices.setdefault(index, {"index": index, "logprobs": None, "finish_reason": None})
        if "text" in choice:
            whole["text"] = whole.get("text", "") + (choice["text"] or "")
        if "delta" in choice:
            message = whole.setdefault("message", {"role": "assistant", "content": None, "refusal": None})
            _extend(message, choice["delta"] or {})
        if choice.get("logprobs"):
            _join(whole, choice["logprobs"])
        whole["finish_reason"] = choice.get("finish_reason") or whole["finish_reason"]

    def whole(self) -> dict[str, Any]:
        choices = [self._choices[index] for index in sorted(self._choices)]
        for choice in choices:
            message = choice.get("message")
            if message is not None and message["content"] is None and "tool_calls" not in message:
                message["content"] = ""
        return self.base | {"choices": choices}


def _extend(message: dict[str, Any], delta: dict[str, Any]) -> None:
    if delta.get("content"):
        message["content"] = (message["content"] or "") + delta["content"]
    for fragment in delta.get("tool_calls") or ():
        calls = message.setdefault("tool_calls", [])
        while len(calls) <= fragment.get("index", 0):
            calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        call, function = calls[fragment.get("index", 0)], fragment.get("function") or {}
        call["id"] = fragment.get("id") or call["id"]
        call["function"]["name"] = function.get("name") or call["function"]["name"]
        call["function"]["arguments"] += function.get("arguments") or ""


def _join(choice: dict[str, Any], more: dict[str, Any]) -> None:
    if choice["logprobs"] is None:
        choice["logprobs"] = {key: list(rows) if isinstance(rows, list) else rows for key, rows in more.items()}
        return
    for key, rows in more.items():
        if isinstance(rows, list):
            choice["logprobs"][key] = [*(choice["logprobs"].get(key) or []), *rows]
