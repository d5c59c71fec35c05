"""Starts an engine server in its own process and reads what it sends, for the tests of this folder."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


@contextmanager
def engine_server(module: str, model: Path, *options: str) -> Iterator[httpx.Client]:
    """A client of `python -m module`, once it is ready."""
    command = [sys.executable, "-m", module, "--port", "0", "--model", str(model), "--stdin-watch", *options]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdin is not None
    with httpx.Client(base_url=json.loads(process.stdout.readline())["url"], timeout=PATIENCE) as client:
        limit = time.monotonic() + PATIENCE
        while client.get("/healthz").status_code != 200:
            assert process.poll() is None, "the engine ended before it was ready"
            assert time.monotonic() < limit
            time.sleep(0.05)
        yield client
    process.stdin.close()
    process.wait(30)
    process.stdout.close()


def script(*pieces: str | dict[str, str]) -> str:
    """A message that a scripted engine answers with these tokens."""
    return json.dumps({"script": list(pieces)})


def ask(client: httpx.Client, text: str, **more: Any) -> dict[str, Any]:
    body = {"model": "scripted", "messages": [{"role": "user", "content": text}]} | more
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def stream(client: httpx.Client, text: str, **more: Any) -> list[dict[str, Any]]:
    """The chunks of a stream that ends as it should."""
    body = {"model": "scripted", "messages": [{"role": "user", "content": text}], "stream": True} | more
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    rows = [block.removeprefix("data: ") for block in answer.text.split("\n\n") if block.startswith("data: ")]
    assert rows.pop() == "[DONE]"
    return [json.loads(row) for row in rows]


def joined(chunks: Sequence[dict[str, Any]], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def said(answer: dict[str, Any], index: int = 0) -> str:
    return answer["choices"][index]["message"]["content"]
