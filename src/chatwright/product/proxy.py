"""Carries a chat completion from the gateway to an engine and its answer back, byte for byte.

The gateway speaks only the OpenAI HTTP shape to engines. An engine that dies in the middle leaves a stream without
its end; the client is then told in-band, because the status line has long been sent.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from chatwright.engine.http import STREAM_HEADERS, unless_disconnected
from chatwright.engine.protocol import DONE, ApiError, sse
from chatwright.product.supervisor import EngineProcess

Wait = Callable[[], Awaitable[None]]
CHAT = "/v1/chat/completions"
PASSED_ON = ("retry-after", "x-chatwright-dropped-turns")
LOST = ApiError(
    503, "the model stopped in the middle of the answer and is being restarted; send the message again",
    "engine_lost", headers={"Retry-After": "2", "x-should-retry": "true"},
)  # fmt: skip


async def forward(request: Request, body: dict[str, Any], engine: EngineProcess, wait: Wait) -> Response:
    """The engine's answer to `body`, once `wait` says that the engine is ready.

    A request that a dying engine did not take is sent once more to its successor; one that it had taken never is,
    as it may be what the engine died of. Raises ApiError(503) where there is no answer.
    """
    content = json.dumps(body | {"model": engine.model.name}).encode()
    for _ in range(2):
        await wait()
        try:
            answer = await _send(request, content, engine, stream=body.get("stream") is True)
        except httpx.ConnectError:
            engine.doubt()
            continue
        except httpx.HTTPError:
            raise LOST from None
        if answer.status_code != 503:
            return answer
        engine.doubt()
    raise LOST


async def _send(request: Request, content: bytes, engine: EngineProcess, *, stream: bool) -> Response:
    outgoing = engine.client.build_request("POST", CHAT, content=content, headers={"Content-Type": "application/json"})
    if not stream:
        answer = await unless_disconnected(request.receive, engine.client.send(outgoing))
        return _whole(answer) if answer is not None else Response(status_code=499)
    upstream = await engine.client.send(outgoing, stream=True)
    if upstream.status_code == 200:
        return _RelayedStream(upstream)
    try:
        await upstream.aread()
    finally:
        await upstream.aclose()
    return _whole(upstream)


def _whole(answer: httpx.Response) -> Response:
    return Response(
        answer.content, answer.status_code, _passed_on(answer), media_type=answer.headers.get("content-type")
    )


def _passed_on(answer: httpx.Response) -> dict[str, str]:
    return {name: answer.headers[name] for name in PASSED_ON if name in answer.headers}


class _RelayedStream(StreamingResponse):
    """A stream that lets go of its engine however it ends, so that the engine stops answering within a step."""

    def __init__(self, upstream: httpx.Response) -> None:
        headers = STREAM_HEADERS | _passed_on(upstream)
        super().__init__(relay(upstream), media_type="text/event-stream", headers=headers)
        self._upstream = upstream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._upstream.aclose()


async def relay(upstream: httpx.Response) -> AsyncIterator[bytes]:
    """The frames as they come; where they end without [DONE], an error frame and [DONE] follow."""
    tail = b""
    try:
        async for block in upstream.aiter_raw():
            tail = (tail + block)[-len(DONE) :]
            yield block
    except httpx.HTTPError:
        pass  # a connection that breaks and one that ends too early are the same to the client: see below
    if tail != DONE:
        yield (b"" if tail.endswith(b"\n\n") or not tail else b"\n\n") + sse(LOST.body()) + DONE
