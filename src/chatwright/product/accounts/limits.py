"""How much one person, or one of their keys, may use: requests and tokens a minute, answers written at once.

Tokens are paid for when they are known, so a bucket may go into debt: then the next request waits until it is out of
it. What a request will cost at least, its own length, is taken at once. Every gateway process counts for itself.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatwright.config import ServeConfig
from chatwright.engine.http import error_response
from chatwright.engine.protocol import ApiError
from chatwright.product.chats.generation import Ask
from chatwright.product.identity import Who
from chatwright.product.limits import Buckets, refusal
from chatwright.product.upstream import Reply
from chatwright.store import Person

BYTES_PER_TOKEN = 4
"""Of a request, before the engine has counted: what is common for English."""
LAPSES_SECONDS = 10.0
"""A place that was reserved for an answer which then never began is free again after as long."""
GENERATES = re.compile(r"/v1/(chat/completions|completions|embeddings|responses)")
TURNS = re.compile(r"/api/chats/[^/]+/(turns|messages/[^/]+/(regenerate|continue))")
_USAGE = re.compile(rb'(?<!\\)"total_tokens":\s*([0-9]{1,9})')


class Tally:
    """Counts the tokens of one answer as its bytes pass: exactly where the answer says its usage, else by its frames.

    Inside a JSON string a quote has a backslash before it, so what a model writes cannot look like usage.
    """

    def __init__(self, prompt_bytes: int = 0) -> None:
        self.estimate = math.ceil(prompt_bytes / BYTES_PER_TOKEN)
        self._frames, self._said, self._tail = 0, 0, b""

    def feed(self, block: bytes) -> None:
        self._frames += block.count(b"data: ")
        seen = self._tail + block
        for found in _USAGE.finditer(seen):
            self._said = max(self._said, int(found[1]))
        self._tail = seen[-40:]

    @property
    def total(self) -> int:
        return self._said or self.estimate + self._frames


@dataclass(eq=False, slots=True)
class Lease:
    """A place among the answers that are written at once for some `names`."""

    names: tuple[str, ...]
    lapses: float | None


class Meter:
    """The limits of everybody who comes to this gateway."""

    def __init__(self, settings: ServeConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._defaults = {
            "requests_per_minute": settings.requests_per_minute if settings.accounts == "people" else 0,
            "tokens_per_minute": settings.tokens_per_minute, "streams": settings.streams,
        }  # fmt: skip
        self._clock = clock
        self._requests, self._tokens = Buckets(clock), Buckets(clock)
        self._leases: dict[str, set[Lease]] = {}

    def admit(self, who: Who, cost: int) -> dict[str, str]:
        """Takes one request, of `cost` tokens at least; what to tell of what is left. Raises ApiError(429)."""
        told: dict[str, str] = {}
        for name, most in self._of(who, "requests_per_minute"):
            if (wait := self._requests.wait(name, most, 1)) > 0:
                raise refusal(f"more than {most:,} requests a minute", wait, {"x-ratelimit-limit-requests": str(most)})
        for name, most in self._of(who, "tokens_per_minute"):
            if (wait := self._tokens.wait(name, most, 0)) > 0:
                raise refusal(f"more than {most:,} tokens a minute", wait, {"x-ratelimit-limit-tokens": str(most)})
        for kind, buckets, amount in (("requests", self._requests, 1), ("tokens", self._tokens, cost)):
            for name, most in self._of(who, f"{kind}_per_minute"):
                left = buckets.take(name, most, amount)
                before = int(told.get(f"x-ratelimit-remaining-{kind}", most))
                if left <= before:
                    told[f"x-ratelimit-limit-{kind}"] = str(most)
                    told[f"x-ratelimit-remaining-{kind}"] = str(max(0, int(left)))
                    told[f"x-ratelimit-reset-{kind}"] = f"{math.ceil((most - left) * 60 / most)}s"
        return told

    def pay(self, who: Who, tokens: int) -> None:
        """Takes what an answer cost besides; less than nothing gives back."""
        for name, most in self._of(who, "tokens_per_minute"):
            self._tokens.take(name, most, tokens)

    def reserve(self, who: Who) -> Lease:
        """A place for an answer that begins soon; raises ApiError(429) where all are taken."""
        now = self._clock()
        limits = [*self._of(who, "streams")]
        for name, most in limits:
            taken = {one for one in self._leases.get(name, ()) if one.lapses is None or one.lapses > now}
            self._leases[name] = taken
            if len(taken) >= most:
                words = f"{most} {'answer is' if most == 1 else 'answers are'} being written at once already"
                raise refusal(words, 1.0, {"x-ratelimit-limit-streams": str(most)})
        lease = Lease(tuple(name for name, _ in limits), now + LAPSES_SECONDS)
        for name in lease.names:
            self._leases[name].add(lease)
        return lease

    def end(self, lease: Lease) -> None:
        for name in lease.names:
            if (taken := self._leases.get(name)) is not None:
                taken.discard(lease)
                if not taken:
                    del self._leases[name]

    def _of(self, who: Who, kind: str) -> Iterator[tuple[str, int]]:
        """The buckets that something of this kind is taken from, and how large they are."""
        if who.person is not None and (most := who.person.limits.get(kind, self._defaults[kind])):
            yield f"person {who.person.id}", most
        if who.key and (most := who.key_limits.get(kind, 0)):
            yield f"key {who.key}", most

    def metered(self, person: Person, ask: Ask) -> Asking:
        """`ask` for an answer of a chat, counted; raises ApiError(429) where the person's places are taken."""
        return Asking(self, Who(person), ask)


class Asking:
    """Asks a model for an answer of a chat. The place among a person's answers is taken now, not when it is asked."""

    def __init__(self, meter: Meter, who: Who, ask: Ask) -> None:
        self._meter, self._who, self._ask, self._lease = meter, who, ask, meter.reserve(who)

    async def __call__(self, body: dict[str, Any]) -> Reply:
        self._lease.lapses = None
        tally = Tally(len(str(body).encode()))
        self._meter.pay(self._who, tally.estimate)
        try:
            answer = await self._ask(body)
        except BaseException:
            self._meter.end(self._lease)
            raise
        return answer.overheard(tally.feed, lambda: self._done(tally))

    def _done(self, tally: Tally) -> None:
        self._meter.end(self._lease)
        self._meter.pay(self._who, tally.total - tally.estimate)


class PersonLimits:
    """Holds /v1 and the turns of chats to the limits of who sends them; stands behind `Identify`."""

    def __init__(self, app: ASGIApp, meter: Meter) -> None:
        self.app, self._meter = app, meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        who: Who | None = scope["state"]["who"] if scope["type"] == "http" else None
        generates = who is not None and scope["method"] == "POST" and GENERATES.fullmatch(scope["path"])
        counted = who is not None and (
            scope["path"].startswith("/v1/") or (scope["method"] == "POST" and TURNS.fullmatch(scope["path"]))
        )
        if who is None or not counted:
            await self.app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"")
        size = int(announced) if generates and announced.isdigit() and len(announced) < 12 else 0
        tally, lease = Tally(size), None
        try:
            lease = self._meter.reserve(who) if generates else None
            told = self._meter.admit(who, tally.estimate)
        except ApiError as error:
            if lease is not None:
                self._meter.end(lease)
            await error_response(error)(scope, receive, send)
            return
        if lease is not None:
            lease.lapses = None
        await self._answered(scope, receive, send, who, tally, lease, told)

    async def _answered(
        self, scope: Scope, receive: Receive, send: Send, who: Who, tally: Tally, lease: Lease | None,
        told: dict[str, str],
    ) -> None:  # fmt: skip
        headers = [(name.encode(), value.encode()) for name, value in told.items()]

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in headers if pair[0] not in there)]
            elif lease is not None:
                tally.feed(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, counted)
        finally:
            if lease is not None:
                self._meter.end(lease)
                self._meter.pay(who, tally.total - tally.estimate)
