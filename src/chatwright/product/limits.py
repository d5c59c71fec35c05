"""How many requests one client may send in a minute: a bucket that fills at a steady pace (token bucket)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatwright.engine.http import error_response
from chatwright.engine.protocol import ApiError

MOST_CLIENTS = 10_000
"""Buckets kept; full ones, which are as good as new, are dropped beyond it."""


@dataclass(slots=True)
class Bucket:
    left: float
    at: float


class RequestLimits:
    """Refuses what goes over `per_minute` with 429.

    A client is an address: a key that nobody has checked proves nothing.
    """

    def __init__(self, app: ASGIApp, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.app, self._most, self._clock = app, per_minute, clock
        self._buckets: dict[str, Bucket] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._most or scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self.app(scope, receive, send)
            return
        bucket = self._bucket(str((scope.get("client") or ("",))[0]))
        wait = (1 - bucket.left) * 60 / self._most
        if wait > 0:
            refusal = ApiError(
                429, f"more than {self._most} requests a minute; try again in {math.ceil(wait)} s",
                "rate_limit_exceeded",
                headers={"Retry-After": str(math.ceil(wait)), "retry-after-ms": str(math.ceil(wait * 1000))},
            )  # fmt: skip
            await error_response(refusal)(scope, receive, send)
            return
        bucket.left -= 1
        told = [
            (b"x-ratelimit-limit-requests", str(self._most).encode()),
            (b"x-ratelimit-remaining-requests", str(int(bucket.left)).encode()),
        ]

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *told]
            await send(message)

        await self.app(scope, receive, with_headers)

    def _bucket(self, client: str) -> Bucket:
        now = self._clock()
        if client not in self._buckets and len(self._buckets) >= MOST_CLIENTS:
            self._buckets = {c: b for c, b in self._buckets.items() if now - b.at < 60}
        bucket = self._buckets.setdefault(client, Bucket(self._most, now))
        bucket.left = min(self._most, bucket.left + (now - bucket.at) * self._most / 60)
        bucket.at = now
        return bucket
