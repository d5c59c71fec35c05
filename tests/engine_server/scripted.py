"""An engine that says what its prompt tells it to, at a known pace: for tests of everything around an engine.

Prompt tokens are the UTF-8 bytes of the last message; the answer is that text with "You said: " before it, one
token per character. Words steer it: "slow" waits between steps, "forever" never ends, "crash" ends the process and
"break" raises inside a step, both after ten tokens; "roll" says its seed, "adapted" its adapter,
"parameters" (in one token) what it was asked.

A message {"script": [...]} is said token by token; a token is text, or {"hex": ...} for bytes. A `schema` is answered
with the smallest value that fits; one with "held" in it is compiled until somebody says "release". Every step offers
its token and "?" as alternatives. A prompt that begins as the one before it did is cached that far.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from chatwright.engine.request import Request, Step
from chatwright.engine.stream import TextStream
from chatwright.errors import InputError
from chatwright.records import Message

if TYPE_CHECKING:
    from chatwright.engine.server import Loading

CONTEXT = 200
END = 0
FIRST_PIECE = 0x110000
"""Tokens below it are characters, those from here on are pieces of scripts."""


class ScriptedTokenizer:
    """Characters are tokens; scripts bring their own."""

    vocab_size = FIRST_PIECE + 1_000_000
    special_ids = frozenset({END})

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.scripts: list[list[int]] = []

    def encode(self, text: str) -> list[int]:
        if text.startswith('{"script"'):
            self.scripts.append([self.piece(piece) for piece in json.loads(text)["script"]])
            text = f"#{len(self.scripts) - 1}"
        return list(text.encode())

    def piece(self, piece: str | dict[str, str]) -> int:
        self.pieces.append(piece.encode() if isinstance(piece, str) else bytes.fromhex(piece["hex"]))
        return FIRST_PIECE + len(self.pieces) - 1

    def token_bytes(self, token: int) -> bytes:
        return self.pieces[token - FIRST_PIECE] if token >= FIRST_PIECE else chr(token).encode()

    def decode(self, tokens: Sequence[int]) -> str:
        return b"".join(map(self.token_bytes, tokens)).decode("utf-8", "replace")


class ScriptedEngine:
    """The methods of `chatwright.engine.core.Engine` that a server uses."""

    def __init__(self, ident: str = "scripted-1", pause: float = 0.0, slots: int = 1_000) -> None:
        self.id, self.context, self._pause, self._slots = ident, CONTEXT, pause, slots
        self.tokenizer, self.template = ScriptedTokenizer(), SimpleNamespace(stop_ids=frozenset({END}), begin=())
        self._handles = itertools.count(1)
        self._lock = threading.Lock()
        self._running: dict[int, dict[str, Any]] = {}
        self._before: tuple[int, ...] = ()
        self.computes = "a script"
        self.cancelled: list[int] = []
        self.released = threading.Event()

    @classmethod
    def load(cls, path: Path, max_batch: int = 1_000) -> ScriptedEngine:
        if not path.exists():
            raise InputError(f"{path} does not exist; check the path")
        return cls(path.name, pause=float(os.environ.get("SCRIPTED_PAUSE", "0")), slots=max_batch)

    @property
    def busy(self) -> bool:
        return bool(self._running)

    @property
    def waiting(self) -> int:
        return max(0, len(self._running) - self._slots)

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        tokens = tuple(self.tokenizer.encode(messages[-1].content))
        if len(tokens) > self.context:
            raise InputError(f"the messages take {len(tokens)} tokens, more than the context of {self.context}")
        return tokens

    def encode_cut(self, messages: Sequence[Message], room: int) -> tuple[tuple[int, ...], int]:
        return tuple(self.tokenizer.encode(messages[-1].content)[-(self.context - room) :]), len(messages) - 1

    def embed(self, texts: Sequence[Sequence[int]]) -> list[list[float]]:
        return [[float(len(tokens)), sum(tokens) / len(tokens), 0.5] for tokens in texts]

    def add_adapter(self, name: str, folder: Path) -> None:
        if not folder.exists():
            raise InputError(f"{folder} does not exist; check the path")

    def prepare(self, schema: str) -> None:
        if "held" in schema:
            self.released.wait()

    def submit(self, request: Request) -> int:
        said = bytes(request.tokens).decode("utf-8", "replace")
        if "release" in said:
            self.released.set()
        if "refuse" in said:
            raise InputError("the engine takes no such request")
        same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(request.tokens, self._before, strict=False))
        row = {
            "said": said, "tokens": self._answer(said, request), "left": request.sampling.max_tokens, "given": 0,
            "stream": TextStream(self.tokenizer, request.sampling.stop),  # type: ignore[arg-type]  # it only decodes
            "alternatives": request.alternatives, "cached": len(list(same)),
        }  # fmt: skip
        with self._lock:
            self._before = request.tokens
            handle = next(self._handles)
            self._running[handle] = row
        return handle

    def _answer(self, said: str, request: Request) -> Iterator[int]:
        if said.startswith("#"):
            return iter(self.tokenizer.scripts[int(said[1:])])
        if "forever" in said:
            return itertools.cycle(map(ord, "on and on "))
        if request.sampling.schema:
            return iter([*map(ord, json.dumps(smallest(json.loads(request.sampling.schema))))])
        if "parameters" in said:
            return iter([self.tokenizer.piece(json.dumps(dataclasses.asdict(request.sampling)))])
        if "roll" in said:
            return iter([*map(ord, f"seed {request.sampling.seed}")])
        if "adapted" in said:
            return iter([*map(ord, f"adapter {request.adapter}")])
        return iter([*map(ord, f"You said: {said}")])

    def cancel(self, handle: int) -> None:
        with self._lock:
            if self._running.pop(handle, None) is not None:
                self.cancelled.append(handle)

    def step(self) -> list[Step]:
        time.sleep(self._pause)
        with self._lock:
            running = list(self._running.items())[: self._slots]
            return [self._advance(handle, row) for handle, row in running]

    def _advance(self, handle: int, row: dict[str, Any]) -> Step:
        row["given"] += 1
        if "crash" in row["said"] and row["given"] > 10:
            os._exit(70)
        if "break" in row["said"] and row["given"] > 10:
            raise RuntimeError("scripted failure")
        if "slow" in row["said"]:
            time.sleep(0.02)
        token, reason, text = next(row["tokens"], END), None, ""
        stream: TextStream = row["stream"]
        row["left"] -= 1
        if token == END:
            reason = "stop"
        else:
            text = stream.push(token)
            if stream.stopped:
                reason = "stop"
            elif row["left"] <= 0 and "forever" not in row["said"]:
                reason = "length"
        if reason:
            text += stream.finish()
            del self._running[handle]
        alternatives = ((token, -0.25), (ord("?"), -1.5))[: row["alternatives"]]
        return Step(handle, text, token, -0.5, reason, -0.25, alternatives, row["cached"])


def smallest(schema: dict[str, Any]) -> Any:
    """A value that a simple schema allows."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return smallest(schema["anyOf"][0])
    if schema.get("type") == "object":
        return {name: smallest(one) for name, one in schema.get("properties", {}).items()}
    return {"array": [], "string": "x", "integer": 1, "number": 1.5, "boolean": True}.get(schema.get("type", ""))


def load(wanted: Loading) -> ScriptedEngine:
    return ScriptedEngine.load(wanted.path, wanted.max_batch)


if __name__ == "__main__":
    from chatwright.engine.server import main

    sys.exit(main(load=load))
