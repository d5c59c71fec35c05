"""Answers as they grow: the generations of one request, merged into pieces, written whole or as a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from chatwright.engine.http import STREAM_HEADERS
from chatwright.engine.protocol import DONE, ApiError, Envelope, sse, usage
from chatwright.engine.protocol.choices import Choice, Piece, Whole
from chatwright.engine.request import Request, Step
from chatwright.engine.worker import EngineWorker, Generation

PING_SECONDS = 15.0


class Reply:
    """One generation for each choice. Raises ApiError, with nothing left in the engine, where not all are taken.

    `prompts` holds the length in tokens of each prompt; the choices of one prompt stand side by side.
    """

    def __init__(
        self, worker: EngineWorker, requests: Sequence[Request], choices: Sequence[Choice], prompts: Sequence[int]
    ) -> None:
        self.choices, self._prompts = choices, prompts
        self._generations: list[Generation] = []
        try:
            for request in requests:
                self._generations.append(worker.submit(request))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for generation in self._generations:
            generation.close()

    def usage(self) -> dict[str, Any]:
        """Tokens of every prompt once, however many answers it got."""
        share = len(self.choices) // len(self._prompts)
        cached = sum(choice.cached for choice in self.choices[::share])
        return usage(sum(self._prompts), sum(choice.tokens for choice in self.choices), cached)

    async def pieces(self) -> AsyncIterator[Piece | None]:
        """What becomes visible, in the order it does; None where nothing has for a while."""
        if len(self.choices) == 1:
            choice, generation = self.choices[0], self._generations[0]
            while not choice.done:
                step = await generation.next(PING_SECONDS)
                for piece in (None,) if step is None else self._take(0, step):
                    yield piece
            return
        arrived: asyncio.Queue[tuple[int, Step] | ApiError] = asyncio.Queue()
        pumps = [asyncio.create_task(self._pump(index, arrived)) for index in range(len(self.choices))]
        try:
            while not all(choice.done for choice in self.choices):
                try:
                    async with asyncio.timeout(PING_SECONDS):
                        item = await arrived.get()
                except TimeoutError:
                    yield None
                    continue
                if isinstance(item, ApiError):
                    raise item
                for piece in self._take(*item):
                    yield piece
        finally:
            for pump in pumps:
                pump.cancel()

    async def _pump(self, index: int, arrived: asyncio.Queue[tuple[int, Step] | ApiError]) -> None:
        try:
            reason = None
            while reason is None:
                if (step := await self._generations[index].next(PING_SECONDS)) is not None:
                    arrived.put_nowait((index, step))
                    reason = step.finish_reason
                    await asyncio.sleep(0)  # where many steps wait already, the choices still come side by side
        except ApiError as error:
            arrived.put_nowait(error)

    def _take(self, index: int, step: Step) -> list[Piece]:
        choice = self.choices[index]
        if choice.done:
            return []
        if step.finish_reason == "cancelled":
            raise ApiError(500, "the engine gave this answer up", "engine_lost")
        pieces = choice.take(step)
        if choice.done:
            self._generations[index].close()
        return pieces

    async def whole(self, envelope: Envelope) -> dict[str, Any]:
        wholes = [Whole() for _ in self.choices]
        try:
            async for piece in self.pieces():
                if piece is not None:
                    wholes[piece.index].add(piece)
        finally:
            self.close()
        return envelope.whole(wholes, self.usage())

    async def frames(self, envelope: Envelope) -> AsyncIterator[bytes]:
        """The stream: roles first, pieces as they come, one finish a choice, usage where asked for, always [DONE].

        A comment goes out where nothing else does for a while: a queued request must not look dead to proxies.
        """
        for chunk in envelope.opening(len(self.choices)):
            yield sse(chunk)
        offsets = [0] * len(self.choices)
        try:
            async for piece in self.pieces():
                if piece is None:
                    yield b": waiting\n\n"
                    continue
                yield sse(envelope.chunk(piece, offsets[piece.index]))
                offsets[piece.index] += len(piece.delta.get("content", ""))
            if envelope.include_usage:
                yield sse(envelope.usage_chunk(self.usage()))
        except ApiError as error:
            yield sse(error.body())
        yield DONE


class ReplyStream(StreamingResponse):
    """A stream that takes its generations out of the engine however it ends."""

    def __init__(self, reply: Reply, envelope: Envelope, headers: dict[str, str]) -> None:
        super().__init__(reply.frames(envelope), media_type="text/event-stream", headers=STREAM_HEADERS | headers)
        self._reply = reply

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._reply.close()
