"""What the engine server and the gateway share of HTTP: errors in OpenAI's body, limits, loopback, disconnects."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatwright.engine.protocol import ApiError
from chatwright.errors import ChatwrightError

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
T = TypeVar("T")


def error_response(error: ApiError) -> JSONResponse:
    """Clients retry 409, 429 and every 5xx by themselves unless told otherwise."""
    told = {"x-should-retry": str(error.retry).lower()} if error.status >= 409 else {}
    waits = {"retry-after": "1"} if error.retry else {}
    given = {name.lower(): value for name, value in error.headers.items()}
    return JSONResponse(error.body(), status_code=error.status, headers=told | waits | given)


def install_error_bodies(app: FastAPI) -> None:
    """Every 4xx and 5xx of `app`, its framework's own included, carries OpenAI's error body."""

    async def known(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ApiError)
        return error_response(error)

    async def mistake(_: Request, error: Exception) -> JSONResponse:
        return error_response(ApiError(400, str(error), "invalid_value"))

    async def framework(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        messages = {404: f"there is nothing at {request.url.path}", 405: f"{request.method} is not answered here"}
        message = messages.get(error.status_code, str(error.detail))
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
        return error_response(ApiError(error.status_code, message, code, headers=dict(error.headers or {})))

    async def unforeseen(_: Request, __: Exception) -> JSONResponse:
        return error_response(ApiError(500, "something went wrong inside the server", "internal_error"))

    async def parameters(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        name = str(first["loc"][-1])
        return error_response(ApiError(400, f"{name}: {first['msg'].lower()}", "invalid_value", name))

    async def left(_: Request, __: Exception) -> Response:
        return Response(status_code=499)  # nobody reads it

    app.add_exception_handler(ClientDisconnect, left)
    app.add_exception_handler(RequestValidationError, parameters)
    app.add_exception_handler(ApiError, known)
    app.add_exception_handler(ChatwrightError, mistake)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(Exception, unforeseen)


def listening_socket(family: socket.AddressFamily) -> socket.socket:
    """A TCP socket to bind and listen on, whose connections send what is written at once.

    The protocol is named because asyncio turns on TCP_NODELAY only where it is. Without that the first token waits
    until the client has acknowledged the headers before it, which clients put off for 40 ms.
    """
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)


def keep_log_quiet() -> None:
    """asyncio warns of every client that leaves in the middle of an answer, once for each token it still got."""
    logging.getLogger("asyncio").setLevel(logging.ERROR)


class Envelope:
    """Gives every response an `x-request-id` and the fixed `headers`, where the response has not set its own."""

    def __init__(self, app: ASGIApp, headers: dict[str, str] | None = None) -> None:
        self.app = app
        self._headers = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = f"req-{secrets.token_hex(8)}".encode()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                wanted = [(b"x-request-id", request_id), *self._headers]
                message["headers"] = [*message["headers"], *(pair for pair in wanted if pair[0] not in present)]
            await send(message)

        await self.app(scope, receive, send_with_headers)


class LoopbackNames:
    """Refuses a Host header that is not this machine's loopback name.

    A page on another site can point its own name at 127.0.0.1 (DNS rebinding); its requests then carry that name.
    `also` is one more name (host:port), by which people come from elsewhere.
    """

    def __init__(self, app: ASGIApp, also: str = "") -> None:
        self.app, self._also = app, also.lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            hosts = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
            allowed = bool(self._also) and hosts == [self._also]
            if not allowed and (len(hosts) != 1 or not is_loopback_host(hosts[0])):
                names = " and ".join(filter(None, ["localhost", "127.0.0.1", self._also]))
                refusal = ApiError(403, f"this server answers only to {names}", "host_not_allowed")
                await error_response(refusal)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def is_loopback_host(header: str) -> bool:
    name, colon, port = header.rpartition(":")
    if not colon or header.endswith("]"):
        name, port = header, "0"
    return name.lower() in LOOPBACK_NAMES and port.isascii() and port.isdigit()


class BodyLimit:
    """Refuses a request body above `limit` bytes, whether its length is announced or it arrives in pieces.

    `larger` gives some paths a limit of their own.
    """

    def __init__(self, app: ASGIApp, limit: int, larger: Mapping[str, int] | None = None) -> None:
        self.app, self._limit, self._larger = app, limit, larger or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self._larger.get(scope["path"], self._limit)
        refusal = ApiError(413, f"the request body is larger than {limit:,} bytes", "request_too_large")
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > limit:
            await error_response(refusal)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise refusal
            return message

        await self.app(scope, counted, send)


async def unless_disconnected(receive: Receive, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of `work`; None, with `work` cancelled, where the client leaves before it is there."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _disconnect(receive: Callable[[], Awaitable[Message]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
