"""Sends chat completions to a server as the load says, and takes the times of every stream.

One task a request on one event loop; `stop` ends a measurement early and keeps what was measured. Times are taken when
bytes arrive, so chunks that came in one packet share a time.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from chatwright.bench.arrivals import Load, Messages, poisson_times
from chatwright.bench.timing import UNFINISHED, Timing
from chatwright.errors import InputError

CONNECT_SECONDS = 10.0
IDLE_SECONDS = 2.0
"""A connection idle for longer is not used again: servers close theirs after some seconds, 5 in uvicorn."""


@dataclass(frozen=True, slots=True)
class Target:
    """The server, the model there, and what every request carries besides its messages."""

    url: str
    model: str
    body: dict[str, Any] = field(default_factory=dict)
    key: str = ""
    timeout: float = 120.0

    def client(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return httpx.AsyncClient(
            base_url=self.url,
            headers=headers,
            timeout=httpx.Timeout(self.timeout, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=IDLE_SECONDS),
            trust_env=False,
        )

    def request(self, messages: Messages) -> dict[str, Any]:
        usage = {"stream": True, "stream_options": {"include_usage": True}}
        return {"model": self.model, "messages": messages, **usage, **self.body}


def api_url(url: str) -> str:
    """The address of the API: /v1 is added where it is missing."""
    url = url.rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise InputError(f"{url} is no address; write it as http://127.0.0.1:8601")
    return url if url.endswith("/v1") else url + "/v1"


async def first_model(target: Target) -> str:
    """What the server calls its first model. Raises InputError where it cannot be asked."""
    try:
        async with target.client() as client:
            answer = await client.get("/models")
            answer.raise_for_status()
            return answer.json()["data"][0]["id"]
    except httpx.HTTPStatusError as error:
        raise InputError(f"{target.url} answers {error.response.status_code} when asked for its models") from None
    except httpx.HTTPError as error:
        raise InputError(f"{target.url} cannot be reached ({_kind(error)}); is the server running?") from None
    except (ValueError, LookupError, TypeError):
        raise InputError(f"{target.url} names no models; name one with --model") from None


async def prompt_size(client: httpx.AsyncClient, target: Target, messages: Messages) -> int:
    """How many tokens the server counts in a prompt, from a whole answer of one token. Raises InputError."""
    try:
        body = {**target.body, "model": target.model, "messages": messages, "max_tokens": 1}
        answer = await client.post("/chat/completions", json=body)
        if answer.status_code != 200:
            raise InputError(f"{target.url} refuses a first question ({_refusal(answer.status_code, answer.content)})")
        return int(answer.json()["usage"]["prompt_tokens"])
    except httpx.HTTPError as error:
        raise InputError(f"{target.url} does not answer a first question ({_kind(error)})") from None
    except (ValueError, LookupError, TypeError):
        raise InputError(f"{target.url} does not say how many tokens a prompt has; give --prompts FILE") from None


async def run_load(
    target: Target,
    prompts: Iterator[Messages],
    load: Load,
    *,
    stop: asyncio.Event | None = None,
    on_done: Callable[[int], None] = lambda _: None,
) -> list[Timing]:
    """The timing of every request that was sent, in order of sending.

    Ends when the load has been sent and answered, when its time is up, or when `stop` is set. What still runs then
    (after the grace; at once on `stop`) is marked unfinished.
    """
    stop = stop or asyncio.Event()
    timings: list[Timing] = []
    tasks: set[asyncio.Task[None]] = set()
    done = 0

    async with target.client() as client:

        async def ask(messages: Messages, due: float) -> None:
            nonlocal done
            timing = Timing(due)
            timings.append(timing)
            await measure(client, target, messages, timing)
            done += 1
            on_done(done)

        send = _open if load.rate is not None else _closed
        sending = asyncio.create_task(send(load, prompts, ask, tasks))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({sending, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                await sending  # raises what went wrong in it
                if tasks:
                    everything = asyncio.gather(*tasks)
                    await asyncio.wait({everything, stopping}, timeout=load.grace, return_when=asyncio.FIRST_COMPLETED)
                    everything.cancel()
                    await asyncio.gather(everything, return_exceptions=True)
        finally:
            for task in (sending, stopping, *tasks):
                task.cancel()
            await asyncio.gather(sending, stopping, *tasks, return_exceptions=True)
    return timings


async def _open(load: Load, prompts: Iterator[Messages], ask: Any, tasks: set[asyncio.Task[None]]) -> None:
    """Sends at the drawn times, whatever has come back so far."""
    assert load.rate is not None
    start = time.perf_counter()
    for after in poisson_times(load.rate, load.requests, load.seconds, load.seed):
        await asyncio.sleep(start + after - time.perf_counter())
        tasks.add(asyncio.create_task(ask(next(prompts), start + after)))


async def _closed(load: Load, prompts: Iterator[Messages], ask: Any, tasks: set[asyncio.Task[None]]) -> None:
    """Every client asks again as soon as it was answered."""
    assert load.clients is not None
    until, left = time.perf_counter() + load.seconds, load.requests

    async def client() -> None:
        nonlocal left
        while left > 0 and time.perf_counter() < until:
            left -= 1
            await ask(next(prompts), time.perf_counter())

    tasks |= {asyncio.create_task(client()) for _ in range(min(load.clients, load.requests))}
    await asyncio.wait(tasks, timeout=load.seconds)


async def measure(client: httpx.AsyncClient, target: Target, messages: Messages, timing: Timing) -> None:
    """Fills `timing` with what becomes of one request; raises nothing but cancellation."""
    timing.error = UNFINISHED
    try:
        async with client.stream("POST", "/chat/completions", json=target.request(messages)) as answer:
            if answer.status_code != 200:
                timing.error = _refusal(answer.status_code, await answer.aread())
            else:
                timing.error = await _read(answer.aiter_bytes(), timing)
    except httpx.TimeoutException as error:
        timing.error = f"timeout ({type(error).__name__})"
    except httpx.HTTPError as error:
        timing.error = f"connection ({_kind(error)})"
    finally:
        timing.ended = time.perf_counter()


async def _read(blocks: AsyncIterator[bytes], timing: Timing) -> str:
    """Takes the times of a stream; "" where it came to its end, else what was wrong with it."""
    finished, waiting = False, b""
    async for block in blocks:
        now = time.perf_counter()
        *events, waiting = (waiting + block).replace(b"\r\n", b"\n").split(b"\n\n")
        for event in events:
            data = b"".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
            if not data:
                continue
            if data == b"[DONE]":
                return "" if finished else "stream without a finish reason"
            try:
                row = json.loads(data)
            except ValueError:
                return "stream with broken JSON"
            if "error" in row:
                return f"error in the stream ({_code(row)})"
            finished |= _take(row, now, timing)
    return "stream without an end"


def _take(row: dict[str, Any], now: float, timing: Timing) -> bool:
    """Notes the text and the usage of one chunk; whether it says that the answer is finished."""
    if usage := row.get("usage"):
        timing.prompt_tokens, timing.completion_tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
    finished = False
    for choice in row.get("choices") or []:
        delta = choice.get("delta") or {}
        if delta.get("content") or delta.get("tool_calls") or delta.get("reasoning_content"):
            timing.chunks.append(now)
        finished |= choice.get("finish_reason") is not None
    return finished


def _refusal(status: int, body: bytes) -> str:
    try:
        return f"{status} {_code(json.loads(body))}".strip()
    except ValueError:
        return str(status)


def _code(row: Any) -> str:
    error = row.get("error") if isinstance(row, dict) else None
    return str(error.get("code") or error.get("type") or "") if isinstance(error, dict) else ""


def _kind(error: Exception) -> str:
    return type(error).__name__
