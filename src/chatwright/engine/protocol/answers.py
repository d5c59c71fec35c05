"""How answers are spelled: chat completions and completions, whole and as server-sent events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chatwright.engine.protocol.choices import Piece, Whole
from chatwright.engine.protocol.logprobs import chat_logprobs, text_logprobs

DONE = b"data: [DONE]\n\n"


def sse(value: Any) -> bytes:
    """One server-sent event that carries `value` as JSON."""
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def usage(prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": cached_tokens},
    }


@dataclass(slots=True)
class Envelope:
    """What every chunk of one answer repeats. `logprobs` is how many alternatives were asked for, None for no log."""

    id: str
    created: int
    model: str
    fingerprint: str
    kind: Literal["chat.completion", "text_completion"] = "chat.completion"
    include_usage: bool = False
    logprobs: int | None = None

    def _base(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id, "object": kind, "created": self.created, "model": self.model,
            "system_fingerprint": self.fingerprint,
        }  # fmt: skip

    def opening(self, count: int) -> list[dict[str, Any]]:
        """The chunks that say who speaks, one for each choice; completions have none."""
        if self.kind == "text_completion":
            return []
        return [self.chunk(Piece(index, {"role": "assistant", "content": ""})) for index in range(count)]

    def chunk(self, piece: Piece, offset: int = 0) -> dict[str, Any]:
        """`offset` is where the piece's text begins in its choice, in characters; only completions tell it."""
        more = {"usage": None} if self.include_usage else {}
        if self.kind == "text_completion":
            logged = text_logprobs(piece.logged, self.logprobs, offset) if self.logprobs is not None else None
            choice = {"index": piece.index, "text": piece.delta.get("content", "")}
            return self._base(self.kind) | {"choices": [choice | self._end(logged, piece.finish_reason)]} | more
        logged = chat_logprobs(piece.logged, self.logprobs or 0) if piece.logged else None
        choice = {"index": piece.index, "delta": piece.delta} | self._end(logged, piece.finish_reason)
        return self._base("chat.completion.chunk") | {"choices": [choice]} | more

    def _end(self, logged: dict[str, Any] | None, finish_reason: str | None) -> dict[str, Any]:
        return {"logprobs": logged, "finish_reason": finish_reason}

    def usage_chunk(self, used: dict[str, Any]) -> dict[str, Any]:
        kind = "text_completion" if self.kind == "text_completion" else "chat.completion.chunk"
        return self._base(kind) | {"choices": [], "usage": used}

    def whole(self, choices: Sequence[Whole], used: dict[str, Any]) -> dict[str, Any]:
        rows = [self._choice(index, choice) for index, choice in enumerate(choices)]
        return self._base(self.kind) | {"choices": rows, "usage": used}

    def _choice(self, index: int, choice: Whole) -> dict[str, Any]:
        if self.kind == "text_completion":
            logged = text_logprobs(choice.logged, self.logprobs, 0) if self.logprobs is not None else None
            return {"index": index, "text": choice.content or ""} | self._end(logged, choice.finish_reason)
        logged = chat_logprobs(choice.logged, self.logprobs) if self.logprobs is not None else None
        return {"index": index, "message": choice.message()} | self._end(logged, choice.finish_reason)
