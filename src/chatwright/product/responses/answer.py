"""The response object, as it begins and as it grows; and the events that tell a client how it does."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

from chatwright.product.responses.body import ResponseBody

Event = dict[str, Any]


def new_id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(16)}"


def opening(parsed: ResponseBody, ident: str, created: int) -> dict[str, Any]:
    """A response of which nothing has been written yet."""
    form = parsed.text.format if parsed.text and parsed.text.format else None
    choice = parsed.tool_choice
    return {
        "id": ident, "object": "response", "created_at": created, "status": "in_progress", "background": False,
        "completed_at": None, "error": None, "incomplete_details": None, "instructions": parsed.instructions,
        "max_output_tokens": parsed.max_output_tokens, "max_tool_calls": None, "model": parsed.model, "output": [],
        "parallel_tool_calls": parsed.parallel_tool_calls is not False,
        "previous_response_id": parsed.previous_response_id, "reasoning": {"effort": None, "summary": None},
        "prompt_cache_key": parsed.prompt_cache_key, "safety_identifier": parsed.safety_identifier,
        "service_tier": "default", "store": parsed.store is not False, "temperature": parsed.temperature,
        "text": {"format": form.model_dump(by_alias=True, exclude_none=True) if form else {"type": "text"}},
        "tool_choice": choice if isinstance(choice, str) else choice.model_dump() if choice else "auto",
        "tools": [tool.model_dump() | {"strict": bool(tool.strict)} for tool in parsed.tools or []],
        "top_logprobs": parsed.top_logprobs or 0, "top_p": parsed.top_p, "truncation": parsed.truncation or "disabled",
        "usage": None, "user": parsed.user, "metadata": parsed.metadata or {},
    }  # fmt: skip


class Writer:
    """Grows a response from the chunks of a chat completion; each method yields the events to be sent.

    The order is OpenAI's: created, in_progress; for each item added, its parts and deltas, done; completed.
    `name` gives a new item its id. A response that says when it was completed keeps that time.
    """

    def __init__(self, response: dict[str, Any], name: Callable[[str], str] = new_id) -> None:
        self.response, self._name = response, name
        self._number = 0
        self._ended: int | None = response.get("completed_at")
        self._open: dict[str, Any] | None = None
        self._finish = ""
        self.said = ""

    def begin(self) -> Iterator[Event]:
        for kind in ("response.created", "response.in_progress"):
            yield self._event(kind, response=self.response | {"output": [], "completed_at": None})

    def chunk(self, chunk: dict[str, Any]) -> Iterator[Event]:
        if chunk.get("usage"):
            self.response["usage"] = _usage(chunk["usage"])
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            if delta.get("content") or choice.get("logprobs"):
                yield from self._text(delta.get("content") or "", (choice.get("logprobs") or {}).get("content") or [])
            for fragment in delta.get("tool_calls") or ():
                yield from self._call(fragment)
            self._finish = choice.get("finish_reason") or self._finish

    def end(self) -> Iterator[Event]:
        """The last events of an answer that came whole, or was cut by its budget."""
        cut = self._finish in ("length", "content_filter")
        if self._open is None and not self.response["output"]:
            yield from self._text("", [])
        yield from self._close("incomplete" if cut else "completed")
        self.response["status"] = "incomplete" if cut else "completed"
        self.response["completed_at"] = None if cut else self._ended or int(time.time())
        if cut:
            reason = "max_output_tokens" if self._finish == "length" else "content_filter"
            self.response["incomplete_details"] = {"reason": reason}
        yield self._event(f"response.{self.response['status']}", response=self.response)

    def fail(self, error: dict[str, Any]) -> Iterator[Event]:
        """The answer broke off."""
        yield from self._close("incomplete")
        code, message = error.get("code") or "server_error", error.get("message") or "the answer broke off"
        self.response |= {"status": "failed", "error": {"code": code, "message": message}}
        yield self._event("response.failed", response=self.response)

    def _event(self, kind: str, **fields: Any) -> Event:
        event = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return event

    @property
    def _index(self) -> int:
        return len(self.response["output"])

    def _place(self) -> dict[str, Any]:
        assert self._open is not None
        return {"item_id": self._open["id"], "output_index": self._index}

    def _text(self, text: str, logprobs: list[dict[str, Any]]) -> Iterator[Event]:
        if self._open is None or self._open["type"] != "message":
            yield from self._close("completed")
            self._open = {
                "id": self._name("msg"), "type": "message", "status": "in_progress", "role": "assistant", "content": [],
            }  # fmt: skip
            yield self._event("response.output_item.added", output_index=self._index, item=dict(self._open))
            part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            yield self._event("response.content_part.added", **self._place(), content_index=0, part=dict(part))
            self._open["content"] = [part]
        part = self._open["content"][0]
        part["text"] += text
        part["logprobs"] = [*part["logprobs"], *logprobs]
        self.said += text
        if text:
            yield self._event(
                "response.output_text.delta", **self._place(), content_index=0, delta=text, logprobs=logprobs
            )

    def _call(self, fragment: dict[str, Any]) -> Iterator[Event]:
        function = fragment.get("function") or {}
        if fragment.get("id"):
            yield from self._close("completed")
            self._open = {
                "id": self._name("fc"), "type": "function_call", "status": "in_progress", "call_id": fragment["id"],
                "name": function.get("name") or "", "arguments": "",
            }  # fmt: skip
            yield self._event("response.output_item.added", output_index=self._index, item=dict(self._open))
        if self._open is not None and (more := function.get("arguments")):
            self._open["arguments"] += more
            yield self._event("response.function_call_arguments.delta", **self._place(), delta=more)

    def _close(self, status: str) -> Iterator[Event]:
        if self._open is None:
            return
        item = self._open
        if item["type"] == "message":
            part = item["content"][0]
            place = self._place() | {"content_index": 0}
            text = {"text": part["text"], "logprobs": part["logprobs"]}
            yield self._event("response.output_text.done", **place, **text)
            yield self._event("response.content_part.done", **place, part=part)
        else:
            done = {"name": item["name"], "arguments": item["arguments"]}
            yield self._event("response.function_call_arguments.done", **self._place(), **done)
        item["status"] = status
        yield self._event("response.output_item.done", output_index=self._index, item=item)
        self.response["output"].append(item)
        self._open = None


def as_chunk(whole: dict[str, Any]) -> dict[str, Any]:
    """A whole chat completion as one chunk, so that both ways of answering are written by the same hand."""
    choice = whole["choices"][0]
    message = choice["message"]
    calls = [call | {"index": index} for index, call in enumerate(message.get("tool_calls") or [])]
    delta = {"content": message.get("content"), "tool_calls": calls}
    one = {"index": 0, "delta": delta, "logprobs": choice.get("logprobs"), "finish_reason": choice["finish_reason"]}
    return {"choices": [one], "usage": whole.get("usage")}


def told_again(response: dict[str, Any]) -> Iterator[Event]:
    """The events of a response that is finished. Each text and each call's arguments come in one delta."""
    names = iter([item["id"] for item in response["output"]])
    begun = {"status": "in_progress", "output": [], "usage": None, "error": None, "incomplete_details": None}
    writer = Writer(response | begun, lambda _: next(names))
    yield from writer.begin()
    for item in response["output"]:
        yield from writer.chunk({"choices": [_choice(item)]})
    if response["status"] == "failed":
        yield from writer.fail(response["error"])
        return
    reason = (response["incomplete_details"] or {}).get("reason")
    finish = {"max_output_tokens": "length", None: "stop"}.get(reason, reason)
    yield from writer.chunk({"choices": [{"finish_reason": finish}]})
    writer.response["usage"] = response["usage"]
    yield from writer.end()


def _choice(item: dict[str, Any]) -> dict[str, Any]:
    """An item of a response as it would come in a chunk of a chat completion."""
    if item["type"] == "message":
        part = item["content"][0]
        return {"delta": {"content": part["text"]}, "logprobs": {"content": part["logprobs"]}}
    function = {"name": item["name"], "arguments": item["arguments"]}
    return {"delta": {"tool_calls": [{"id": item["call_id"], "function": function}]}}


def turns_said(output: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a response said, as chat messages that the next one starts from."""
    text = "".join(item["content"][0]["text"] for item in output if item["type"] == "message")
    calls = [
        {"id": i["call_id"], "type": "function", "function": {"name": i["name"], "arguments": i["arguments"]}}
        for i in output
        if i["type"] == "function_call"
    ]
    turn = {"role": "assistant", "content": text or (None if calls else "")}
    return [turn | ({"tool_calls": calls} if calls else {})]


def _usage(used: dict[str, Any]) -> dict[str, Any]:
    cached = (used.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return {
        "input_tokens": used.get("prompt_tokens", 0),
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": used.get("completion_tokens", 0), "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": used.get("total_tokens", 0),
    }  # fmt: skip
