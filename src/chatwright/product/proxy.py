"""Carries a request from the gateway to an upstream and its answer back, byte for byte.

The gateway speaks only the OpenAI HTTP shape to upstreams, its own engines and foreign ones. One that dies in the
middle leaves a stream without its end; the client is then told in-band, because the status line has long been sent.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from chatwright.engine.http import STREAM_HEADERS, error_response, unless_disconnected
from chatwright.engine.protocol import DONE, ApiError, sse
from chatwright.product.serving import ServedModel
from chatwright.product.upstream import Client, NotTaken, Reply, UpstreamError

Wait = Callable[[], Awaitable[None]]
PASSED_ON = ("retry-after", "x-chatwright-dropped-turns")
OWN_FIELDS = ("truncation",)
"""Fields of chat completions that only Chatwright's engine knows; others refuse what they do not know."""
LOST = ApiError(
    503, "the model stopped in the middle of the answer and is being restarted; send the message again",
    "engine_lost", headers={"Retry-After": "2", "x-should-retry": "true"},
)  # fmt: skip


class Upstream(Protocol):
    """What answers for one model: an engine process of ours, or a server by URL."""

    model: ServedModel

    @property
    def client(self) -> Client: ...
    @property
    def asked_as(self) -> str: ...
    async def wait_ready(self, seconds: float, ending: Callable[[], bool]) -> None: ...
    def doubt(self) -> None: ...


class Tap(Protocol):
    """Hears an answer on its way: a whole one at once, a stream block by block. `end` is awaited before the end."""

    async def whole(self, answer: dict[str, Any]) -> None: ...
    async def block(self, block: bytes) -> None: ...
    async def end(self) -> None: ...


async def ask(path: str, body: dict[str, Any], upstream: Upstream, wait: Wait) -> Reply:
    """The upstream's answer, its body unread where it streams, once `wait` says that the upstream is ready.

    A request that a dying engine did not take is sent once more to its successor; one that it had taken never is,
    as it may be what the engine died of. Raises ApiError where there is no answer, or one that is no good.
    """
    stream = body.get("stream") is True
    for _ in range(2):
        await wait()
        kept = {k: v for k, v in body.items() if not (upstream.model.url and k in OWN_FIELDS)}
        content = json.dumps(kept | {"model": upstream.asked_as}).encode()
        try:
            answer = await upstream.client.post(path, content)
            if not stream:
                await answer.aread()
        except NotTaken:
            upstream.doubt()
            continue
        except UpstreamError:
            raise LOST from None
        if answer.status_code == 503 and not upstream.model.url:
            await answer.aclose()
            upstream.doubt()
            continue
        if answer.status_code != 200:
            raise await refusal_of(answer)
        return answer
    raise LOST


async def refusal_of(answer: Reply) -> ApiError:
    """An upstream's refusal in OpenAI's body. What is wrong between us and it is not the client's mistake."""
    try:
        await answer.aread()
    except UpstreamError:
        return LOST
    finally:
        await answer.aclose()
    status = answer.status_code
    if status < 400:
        return ApiError(502, f"the upstream answers with status {status}, which is not followed", "upstream_failed")
    if status in (401, 403, 407):
        return ApiError(502, "the upstream refuses this server's key", "upstream_refused")
    try:
        error = answer.json()["error"]
        message = str(error["message"])
    except (ValueError, KeyError, TypeError):
        error, message = {}, f"the upstream answers with status {status}"
    code, param = error.get("code"), error.get("param")
    headers = {name: answer.headers[name] for name in PASSED_ON if name in answer.headers}
    return ApiError(status, message, None if code is None else str(code), param, headers)


async def forward(
    request: Request, path: str, body: dict[str, Any], upstream: Upstream, wait: Wait, tap: Tap
) -> Response:
    """The upstream's answer as it is; `tap` hears it."""
    if body.get("stream") is True:
        return RelayedStream(await ask(path, body, upstream, wait), tap)
    try:
        answer = await unless_disconnected(request.receive, ask(path, body, upstream, wait))
    except ApiError as error:
        return error_response(error)
    if answer is None:
        return Response(status_code=499)
    await tap.whole(json_of(answer))
    return Response(answer.content, 200, passed_on(answer), media_type="application/json")


def json_of(answer: Reply) -> dict[str, Any]:
    try:
        value = answer.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ApiError(502, "the upstream does not answer in JSON", "upstream_failed")
    return value


def passed_on(answer: Reply) -> dict[str, str]:
    return {name: answer.headers[name] for name in PASSED_ON if name in answer.headers}


class RelayedStream(StreamingResponse):
    """A stream that lets go of its upstream however it ends, so that an engine stops answering within a step."""

    def __init__(self, upstream: Reply, tap: Tap) -> None:
        headers = STREAM_HEADERS | passed_on(upstream)
        super().__init__(relay(upstream, tap), media_type="text/event-stream", headers=headers)
        self._upstream = upstream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._upstream.aclose()


async def relay(upstream: Reply, tap: Tap) -> AsyncIterator[bytes]:
    """The frames as they come; where they end without [DONE], an error frame and [DONE] follow."""
    tail = b""
    try:
        async for block in upstream.aiter_bytes():
            tail = (tail + block)[-len(DONE) :]
            await tap.block(block)
            if tail == DONE:
                await tap.end()
            yield block
    except UpstreamError:
        pass  # a connection that breaks and one that ends too early are the same to the client: see below
    if tail != DONE:
        yield (b"" if tail.endswith(b"\n\n") or not tail else b"\n\n") + sse(LOST.body()) + DONE
