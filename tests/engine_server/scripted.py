"""An engine that says what its prompt tells it to, at a known pace: for tests of everything around an engine.

Prompt tokens are the UTF-8 bytes of the last message; the answer is that text with "You said: " before it, one
token per character. Words steer it: "slow" waits between steps, "forever" never ends, "crash" ends the process and
"break" raises inside a step, both after ten tokens.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chatwright.engine.request import Request, Step
from chatwright.errors import InputError
from chatwright.records import Message

CONTEXT = 200


class ScriptedEngine:
    """The methods of `chatwright.engine.core.Engine` that a server uses."""

    def __init__(self, ident: str = "scripted-1", pause: float = 0.0) -> None:
        self.id, self.context, self._pause = ident, CONTEXT, pause
        self._handles = itertools.count(1)
        self._lock = threading.Lock()
        self._running: dict[int, dict[str, Any]] = {}
        self.cancelled: list[int] = []

    @classmethod
    def load(cls, path: Path, max_batch: int = 16) -> ScriptedEngine:
        if not path.exists():
            raise InputError(f"{path} does not exist; check the path")
        return cls(path.name, pause=float(os.environ.get("SCRIPTED_PAUSE", "0")))

    @property
    def busy(self) -> bool:
        return bool(self._running)

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        tokens = tuple(messages[-1].content.encode())
        if len(tokens) > self.context:
            raise InputError(f"the messages take {len(tokens)} tokens, more than the context of {self.context}")
        return tokens

    def encode_cut(self, messages: Sequence[Message], room: int) -> tuple[tuple[int, ...], int]:
        return tuple(messages[-1].content.encode()[-(self.context - room) :]), len(messages) - 1

    def submit(self, request: Request) -> int:
        said = bytes(request.tokens).decode("utf-8", "replace")
        text = itertools.cycle("on and on ") if "forever" in said else iter(f"You said: {said}")
        with self._lock:
            handle = next(self._handles)
            self._running[handle] = {"said": said, "text": text, "left": request.sampling.max_tokens, "given": 0}
        return handle

    def cancel(self, handle: int) -> None:
        with self._lock:
            if self._running.pop(handle, None) is not None:
                self.cancelled.append(handle)

    def step(self) -> list[Step]:
        time.sleep(self._pause)
        with self._lock:
            return [self._advance(handle, row) for handle, row in list(self._running.items())]

    def _advance(self, handle: int, row: dict[str, Any]) -> Step:
        row["given"] += 1
        if "crash" in row["said"] and row["given"] > 10:
            os._exit(70)
        if "break" in row["said"] and row["given"] > 10:
            raise RuntimeError("scripted failure")
        if "slow" in row["said"]:
            time.sleep(0.02)
        text, reason = next(row["text"], ""), None
        row["left"] -= 1
        if not text:
            reason = "stop"
        elif row["left"] <= 0 and "forever" not in row["said"]:
            reason = "length"
        if reason:
            del self._running[handle]
        return Step(handle, text, ord(text) if text else 0, -0.5, reason)


def load(path: Path, max_batch: int) -> ScriptedEngine:
    return ScriptedEngine.load(path, max_batch)


if __name__ == "__main__":
    from chatwright.engine.server import main

    sys.exit(main(load=load))
