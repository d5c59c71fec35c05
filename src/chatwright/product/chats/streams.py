"""Answers on their way to a page, as server-sent events: what is there already, and then what comes.

`turn` {user, answers, chat} first, `text` {message, at, text} for each piece, `end` {message} for each answer, `done`.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from fastapi.responses import StreamingResponse

from chatwright.engine.http import STREAM_HEADERS
from chatwright.errors import ChatwrightError
from chatwright.product.chats.generation import KEEP_SECONDS, Writer
from chatwright.product.chats.utf16 import clip, units
from chatwright.store.chats import OPEN, ChatMessage, Chats

ALIVE_SECONDS = 10.0
"""A line is kept alive this often, so that a page, and what stands between, can tell silence from a broken line."""
ALIVE = b": alive\n\n"
MOST_WAITING = 1_000
"""Pieces that wait for a slow reader; after that it is waited for, and the pieces it gets grow larger."""

log = logging.getLogger(__name__)

Shown = Callable[[ChatMessage], Awaitable[dict[str, Any]]]


def event(name: str, data: Mapping[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


async def followed(
    writer: Writer, chats: Chats, message: ChatMessage, owner: str, at: int, ending: Callable[[], bool]
) -> AsyncIterator[tuple[int, str] | ChatMessage]:
    """The pieces of an answer from behind `at`, then its end; wherever it is written. Empty ones say: it goes on."""
    made = writer.get(message.id)
    if made is not None:
        async for piece in made.follow(at, ALIVE_SECONDS):
            yield piece
        yield made.ended or message
        return
    waited = 0.0
    while True:
        now = await asyncio.to_thread(chats.message, message.id, owner)
        if now is None:
            yield message
            return
        seen = len(clip(now.content, at))
        if len(now.content) > seen or waited > ALIVE_SECONDS:
            yield at, now.content[seen:]
            at, waited = at + units(now.content[seen:]), 0.0
        if now.status != OPEN or ending():
            yield now
            return
        await asyncio.sleep(KEEP_SECONDS)
        waited += KEEP_SECONDS


async def _block(ident: str, piece: tuple[int, str] | ChatMessage, shown: Shown) -> bytes:
    if isinstance(piece, ChatMessage):
        return event("end", {"message": await shown(piece)})
    return event("text", {"message": ident, "at": piece[0], "text": piece[1]}) if piece[1] else ALIVE


async def events(
    first: Sequence[bytes], sources: Mapping[str, AsyncIterator[tuple[int, str] | ChatMessage]], shown: Shown
) -> AsyncIterator[bytes]:
    """`first`, then what comes from all sources (by message id) as it comes, then `done`."""
    for block in first:
        yield block
    if len(sources) == 1:
        ((ident, source),) = sources.items()
        async for piece in source:
            yield await _block(ident, piece, shown)
    else:
        async for block in _merged(sources, shown):
            yield block
    yield event("done", {})


async def _merged(
    sources: Mapping[str, AsyncIterator[tuple[int, str] | ChatMessage]], shown: Shown
) -> AsyncIterator[bytes]:
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(MOST_WAITING)

    async def pump(ident: str, source: AsyncIterator[tuple[int, str] | ChatMessage]) -> None:
        try:
            async for piece in source:
                await queue.put(await _block(ident, piece, shown))
        except ChatwrightError as error:
            log.warning("an answer could not be followed (%s)", error)
        await queue.put(None)

    pumps = [asyncio.create_task(pump(ident, source)) for ident, source in sources.items()]
    left = len(pumps)
    try:
        while left:
            block = await queue.get()
            if block is None:
                left -= 1
            else:
                yield block
    finally:
        for task in pumps:
            task.cancel()


def stream(blocks: AsyncIterator[bytes]) -> StreamingResponse:
    return StreamingResponse(blocks, media_type="text/event-stream", headers=STREAM_HEADERS)
