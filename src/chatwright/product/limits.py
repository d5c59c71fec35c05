"""How many requests one client may send in a minute: a bucket that fills at a steady pace (token bucket)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatwright.engine.http import error_response
from chatwright.engine.protocol import ApiError

MOST_CLIENTS = 10_000
"""Buckets kept; full ones, which are as good as new, are dropped beyond it."""


@dataclass(slots=True)
class Bucket:
    left: float
    most: int
    at: float


class Buckets:
    """Buckets by name. One holds `most`, fills again within a minute, and may be taken below empty."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}

    def wait(self, name: str, most: int, amount: float) -> float:
        """Seconds until `amount` is there."""
        return max(0.0, amount - self._filled(name, most).left) * 60 / most

    def take(self, name: str, most: int, amount: float) -> float:
        """What is left then; less than nothing is a debt. A negative amount gives back."""
        bucket = self._filled(name, most)
        bucket.left = min(float(most), bucket.left - amount)
        return bucket.left

    def _filled(self, name: str, most: int) -> Bucket:
        now = self._clock()
        if name not in self._buckets and len(self._buckets) >= MOST_CLIENTS:
            self._buckets = {
                known: one for known, one in self._buckets.items()
                if one.left + (now - one.at) * one.most / 60 < one.most
            }  # fmt: skip
        bucket = self._buckets.setdefault(name, Bucket(most, most, now))
        if bucket.most != most:  # the limit was changed: what was used stays used
            bucket.left, bucket.most = bucket.left + most - bucket.most, most
        bucket.left = min(float(most), bucket.left + (now - bucket.at) * most / 60)
        bucket.at = now
        return bucket


def refusal(why: str, wait: float, more: Mapping[str, str] | None = None) -> ApiError:
    """429, with when to come again."""
    seconds = max(1, math.ceil(wait))
    return ApiError(
        429, f"{why}; try again in {seconds} s", "rate_limit_exceeded",
        headers={"Retry-After": str(seconds), "retry-after-ms": str(math.ceil(wait * 1000)), **(more or {})},
    )  # fmt: skip


class RequestLimits:
    """Refuses what goes over `per_minute` to /v1 from one address with 429; 0 refuses nothing.

    It stands in front of whatever looks a credential up: a key that nobody has checked proves nothing.
    """

    def __init__(self, app: ASGIApp, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.app, self._most = app, per_minute
        self._buckets = Buckets(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._most or scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self.app(scope, receive, send)
            return
        client = str((scope.get("client") or ("",))[0])
        wait = self._buckets.wait(client, self._most, 1)
        if wait > 0:
            error = refusal(f"more than {self._most} requests a minute", wait)
            await error_response(error)(scope, receive, send)
            return
        left = self._buckets.take(client, self._most, 1)
        told = [
            (b"x-ratelimit-limit-requests", str(self._most).encode()),
            (b"x-ratelimit-remaining-requests", str(int(left)).encode()),
        ]

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in told if pair[0] not in there)]
            await send(message)

        await self.app(scope, receive, with_headers)
