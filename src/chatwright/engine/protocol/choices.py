"""One answer of a request as it grows: what each step of the engine adds to it for the client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chatwright.engine.protocol.logprobs import Logged, TokenLog
from chatwright.engine.protocol.tools import Delta, ToolStream, ToolUse
from chatwright.engine.request import Step


@dataclass(frozen=True, slots=True)
class Piece:
    """What became visible of one choice: a delta, the tokens in it, and in the last piece why it ended."""

    index: int
    delta: Delta
    logged: tuple[Logged, ...] = ()
    finish_reason: str | None = None


class Choice:
    """Turns steps into pieces. `done` once the answer is complete, which may be before the engine says so."""

    def __init__(self, index: int, *, tools: ToolUse | None = None, log: TokenLog | None = None) -> None:
        self.index = index
        self._tools, self._log = tools, log
        self._calls = ToolStream([t.name for t in tools.offered], forced=tools.forced) if tools else None
        self._logged: list[Logged] = []
        self.tokens = 0
        self.cached = 0
        self.done = False

    def take(self, step: Step) -> list[Piece]:
        if step.finish_reason != "cancelled":
            self.tokens += 1
        self.cached = max(self.cached, step.cached)
        if self._log is not None:
            self._logged += self._log.push(step)
        pieces = [self._piece(delta) for delta in self._deltas(step)]
        only_one = self._tools is not None and not self._tools.parallel
        enough = self._calls is not None and only_one and self._calls.ended > 0
        if step.finish_reason or enough:
            self.done = True
            if self._logged:
                pieces.append(self._piece({}))
            pieces.append(Piece(self.index, {}, (), self._reason(step.finish_reason or "stop")))
        return pieces

    def _deltas(self, step: Step) -> list[Delta]:
        if self._calls is None:
            return [{"content": step.text}] if step.text else []
        deltas = self._calls.push(step.text) if step.text else []
        return deltas + self._calls.finish() if step.finish_reason else deltas

    def _piece(self, delta: Delta) -> Piece:
        logged, self._logged = tuple(self._logged), []
        return Piece(self.index, delta, logged)

    def _reason(self, reason: str) -> str:
        """A function asked for by name ends with "stop", any other call with "tool_calls", as OpenAI has it."""
        called = self._calls is not None and self._calls.begun > 0
        named = self._tools is not None and self._tools.choice == "named"
        return "tool_calls" if reason == "stop" and called and not named else reason


@dataclass(slots=True)
class Whole:
    """One choice put together from its pieces, for clients that do not stream."""

    content: str | None = None
    calls: list[dict[str, Any]] = field(default_factory=list)
    logged: list[Logged] = field(default_factory=list)
    finish_reason: str | None = None

    def add(self, piece: Piece) -> None:
        if text := piece.delta.get("content"):
            self.content = (self.content or "") + text
        for fragment in piece.delta.get("tool_calls", ()):
            if "id" in fragment:
                call = {key: fragment[key] for key in ("id", "type")}
                self.calls.append(call | {"function": dict(fragment["function"])})
            else:
                self.calls[fragment["index"]]["function"]["arguments"] += fragment["function"]["arguments"]
        self.logged += piece.logged
        self.finish_reason = piece.finish_reason or self.finish_reason

    def message(self) -> dict[str, Any]:
        content = self.content if self.content is not None or self.calls else ""
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
        return message | ({"tool_calls": self.calls} if self.calls else {})
