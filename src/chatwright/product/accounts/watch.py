"""A stream ends when whoever reads it is out: signed out, disabled, their key revoked or its time over."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatwright.engine.protocol import DONE, ApiError, sse
from chatwright.product.identity import Identifies, Who

EVERY_SECONDS = 2.0
OUT = ApiError(401, "this session or key is not valid any more; sign in again", "signed_out")


class EndWithSession:
    """Asks every two seconds, while a stream is sent, whether the request would still be let in."""

    def __init__(self, app: ASGIApp, identifies: Identifies, every: float = EVERY_SECONDS) -> None:
        self.app, self._identifies, self._every = app, identifies, every

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        who: Who | None = scope["state"]["who"] if scope["type"] == "http" else None
        if who is None or who.person is None:
            await self.app(scope, receive, send)
            return
        work = asyncio.current_task()
        assert work is not None
        watching: asyncio.Task[None] | None = None
        out, sending, ended = False, asyncio.Lock(), False

        async def watch() -> None:
            nonlocal out
            await asyncio.sleep(self._every)
            while await self._still(scope, who):
                await asyncio.sleep(self._every)
            async with sending:  # never in the middle of a block
                out = not ended
                if out:
                    work.cancel()

        async def watched(message: Message) -> None:
            nonlocal watching, ended
            if message["type"] == "http.response.start" and _streams(message):
                watching = asyncio.create_task(watch())
            async with sending:
                ended = message["type"] == "http.response.body" and not message.get("more_body", False)
                await send(message)

        try:
            await self.app(scope, receive, watched)
        except asyncio.CancelledError:
            if not out:
                raise
            work.uncancel()
            last = sse(OUT.body()) + DONE if scope["path"].startswith("/v1/") else b""
            await send({"type": "http.response.body", "body": last, "more_body": False})
        finally:
            if watching is not None:
                watching.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watching

    async def _still(self, scope: Scope, who: Who) -> bool:
        try:
            now = await self._identifies(scope)
        except ApiError as error:
            return error.status == 503  # a database that is busy is no reason to send somebody away
        assert who.person is not None
        return now.person is not None and now.person.id == who.person.id


def _streams(message: Message) -> bool:
    return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in message["headers"])
