"""Idempotency keys: a POST that comes again with the same key gets the answer of the first, and runs nothing."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import UTC, datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatwright.engine.http import error_response
from chatwright.engine.protocol import ApiError
from chatwright.store import Replays

LONGEST_KEY = 255
LARGEST_KEPT = 4_000_000
"""Bytes of an answer that is kept for repeating."""
KEPT_HEADERS = (b"content-type", b"cache-control", b"x-chatwright-dropped-turns")


class IdempotencyKeys:
    """Same key and same request: the stored answer. Same key and another request: 409. Still being answered: 409.

    Keys are each person's own.
    Answers that a client may try again (429, 5xx) and those cut off are not kept.
    """

    def __init__(self, app: ASGIApp, replays: Replays) -> None:
        self.app, self._replays = app, replays

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"]) if scope["type"] == "http" else {}
        given = headers.get(b"idempotency-key")
        if given is None or scope["method"] != "POST" or not scope["path"].startswith("/v1/"):
            await self.app(scope, receive, send)
            return
        try:
            await self._once(given, scope, receive, send)
        except ApiError as error:
            await error_response(error)(scope, receive, send)

    async def _once(self, given: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        if not 0 < len(given) <= LONGEST_KEY:
            raise ApiError(400, f"an idempotency key has 1 to {LONGEST_KEY} characters", "invalid_value")
        body = await _read(receive)
        person = scope["state"]["who"].person
        key = hashlib.sha256(b"\0".join(((person.id if person else "").encode(), given))).hexdigest()
        asked = hashlib.sha256(b"\0".join((scope["path"].encode(), body))).hexdigest()
        known = await asyncio.to_thread(self._replays.claim, key, asked, datetime.now(UTC), person and person.id)
        if known is None:
            await self._first(key, body, scope, receive, send)
        elif known.request != asked:
            raise ApiError(409, "this idempotency key was used for another request", "idempotency_key_reused")
        elif known.status is None:
            raise ApiError(
                409, "the first request with this idempotency key is still being answered", "idempotency_key_in_use",
                headers={"Retry-After": "1", "x-should-retry": "true"},
            )  # fmt: skip
        else:
            kept = [(name.encode(), value.encode()) for name, value in json.loads(known.headers).items()]
            kept.append((b"idempotency-replayed", b"true"))
            await send({"type": "http.response.start", "status": known.status, "headers": kept})
            await send({"type": "http.response.body", "body": known.body})

    async def _first(self, key: str, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        status, kept, blocks, size, ended = 0, dict[str, str](), list[bytes](), 0, False

        async def heard(message: Message) -> None:
            nonlocal status, size, ended
            if message["type"] == "http.response.start":
                status = message["status"]
                kept.update({n.decode(): v.decode("latin-1") for n, v in message["headers"] if n in KEPT_HEADERS})
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
                if size <= LARGEST_KEPT:
                    blocks.append(message.get("body", b""))
                if not message.get("more_body", False):
                    ended = True
                    await self._settle(key, status, kept, blocks, keep=size <= LARGEST_KEPT)
            await send(message)

        try:
            await self.app(scope, _replayed(body, receive), heard)
        finally:
            if not ended:
                await asyncio.shield(asyncio.to_thread(self._replays.release, key))

    async def _settle(self, key: str, status: int, headers: dict[str, str], blocks: list[bytes], *, keep: bool) -> None:
        if keep and 200 <= status < 499 and status not in (408, 409, 429):
            await asyncio.to_thread(self._replays.settle, key, status, json.dumps(headers), b"".join(blocks))
        else:
            await asyncio.to_thread(self._replays.release, key)


async def _read(receive: Receive) -> bytes:
    blocks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ApiError(400, "the request broke off", "invalid_value")
        blocks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(blocks)


def _replayed(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
