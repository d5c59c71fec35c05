"""Answers that are being written. They belong to the gateway, not to the connection that asked for them.

A `Writer` asks a model and lets its answers grow; who watches one gets what is there and then what comes. What has come
is kept in the database a few times a second, so that another gateway, or this one after a crash, can show it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from chatwright.engine.protocol import ApiError
from chatwright.errors import ChatwrightError
from chatwright.product.chats.utf16 import clip, units
from chatwright.product.frames import EventReader
from chatwright.product.proxy import LOST
from chatwright.product.upstream import Reply, UpstreamError
from chatwright.store.chats import OPEN, ChatMessage, Chats

KEEP_SECONDS = 0.25
"""How often what has come is kept."""
SILENT = timedelta(seconds=10)
"""An answer of which nothing was heard for as long is nobody's any more."""
LATE = timedelta(seconds=10)
"""How long after its end an answer can still be cut to what was seen: the page may be behind."""
INTERRUPTED = "the server went away in the middle of the answer; continue it, or ask again"
STOPPING_SECONDS = 3.0
log = logging.getLogger(__name__)

Ask = Callable[[dict[str, Any]], Awaitable[Reply]]
"""Sends a body of /v1/chat/completions to the model; raises ApiError where there is no answer."""


class Generation:
    """One answer: its text so far, and how it ended once it has."""

    def __init__(self, message: ChatMessage) -> None:
        self.message, self.text = message, message.content
        self.ended: ChatMessage | None = None
        self.ending = False
        self.task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    def add(self, text: str) -> None:
        self.text += text
        self.tell()

    def tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def changed(self) -> None:
        """Returns at the next piece or at the end."""
        await self._changed.wait()

    async def follow(self, at: int, alive: float) -> AsyncIterator[tuple[int, str]]:
        """Pieces of the text with their offset, from behind `at` UTF-16 units to the end.

        An empty piece comes where there was none for `alive` seconds.
        """
        seen = len(clip(self.text, at))
        while True:
            if len(self.text) > seen:
                piece, seen = self.text[seen:], len(self.text)
                yield at, piece
                at += units(piece)
            elif self.ended is not None:
                return
            else:
                try:
                    async with asyncio.timeout(alive):
                        await self.changed()
                except TimeoutError:
                    yield at, ""


class Writer:
    """All answers that this gateway is writing. `host` is its name among the gateways of one database."""

    def __init__(
        self, chats: Chats, host: str = "", clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:  # fmt: skip
        self.host = host or f"gateway-{secrets.token_hex(8)}"
        self._chats, self._clock = chats, clock
        self._running: dict[str, Generation] = {}
        self._ending: set[asyncio.Task[Any]] = set()

    def get(self, ident: str) -> Generation | None:
        return self._running.get(ident)

    def of_chat(self, chat: str) -> list[Generation]:
        return [one for one in self._running.values() if one.message.chat == chat]

    def count(self, wanted: Callable[[ChatMessage], bool]) -> int:
        return sum(wanted(one.message) for one in self._running.values())

    def start(self, message: ChatMessage, body: Mapping[str, Any], ask: Ask) -> Generation:
        """Lets `message`, open in the database, be written; its content so far is what it begins with."""
        made = Generation(message)
        self._running[message.id] = made
        made.task = asyncio.create_task(self._write(made, dict(body) | {"stream": True}, ask))
        return made

    async def _write(self, made: Generation, body: dict[str, Any], ask: Ask) -> None:
        facts: dict[str, Any] = {}
        status, detail = "interrupted", INTERRUPTED
        try:
            answer = await ask(body)
            facts["dropped"] = int(answer.headers.get("x-chatwright-dropped-turns") or 0)
            try:
                status, detail = await self._read(made, answer, facts)
            finally:
                await answer.aclose()
        except ApiError as error:
            status, detail = "failed" if not made.text else "interrupted", error.message
        except UpstreamError:
            status, detail = "failed" if not made.text else "interrupted", LOST.message
        except asyncio.CancelledError:
            return  # whoever cancelled it writes its end
        except Exception:
            log.exception("an answer broke off")
            status, detail = "failed", "something went wrong inside the server"
        await self._end(made, {**facts, "status": status, "detail": detail})

    async def _read(self, made: Generation, answer: Reply, facts: dict[str, Any]) -> tuple[str, str]:
        reader, finish = EventReader(), None
        async for block in answer.aiter_bytes():
            for chunk in reader.feed(block):
                if isinstance(chunk.get("error"), dict):
                    return "failed" if not made.text else "interrupted", str(chunk["error"].get("message"))
                facts.setdefault("completion", str(chunk.get("id"))[:120])
                for choice in chunk.get("choices") or ():
                    if text := (choice.get("delta") or {}).get("content"):
                        made.add(text.replace("\0", "\ufffd"))
                    finish = choice.get("finish_reason") or finish
        return ("done", str(finish)) if finish else ("interrupted", LOST.message)

    async def _end(self, made: Generation, values: dict[str, Any]) -> None:
        made.ending = True
        values = {"content": made.text, "ended": self._clock(), **values}
        try:
            ended = await asyncio.to_thread(self._chats.end, made.message.id, values)
        except (ChatwrightError, SQLAlchemyError) as error:
            log.warning("the end of an answer could not be kept (%s)", error)
            ended = None
        made.text = values["content"]
        made.ended = ended or replace(made.message, **values)
        self._running.pop(made.message.id, None)
        made.tell()

    async def settled(self, ident: str) -> None:
        """Gives an answer that is being written a moment to end: what stops it may be on its way here."""
        made = self._running.get(ident)
        if made is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOPPING_SECONDS):
                    while made.ended is None:
                        await made.changed()

    async def stop(self, message: ChatMessage, seen: int) -> ChatMessage:
        """Ends an answer and keeps what the page had shown: its first `seen` UTF-16 units."""
        made = self._running.get(message.id)
        if made is not None:
            if made.task is not None:
                made.task.cancel()
                await asyncio.wait([made.task])
            if made.ended is None:
                await self._end(made, {"status": "stopped", "detail": "stop", "content": clip(made.text, seen)})
            message = made.ended or message
        if message.status == OPEN:
            return await self._stop_elsewhere(message, seen)
        now = self._clock()
        if message.status == "done" and message.ended and now - message.ended < LATE and seen < units(message.content):
            values = {"content": clip(message.content, seen), "status": "stopped", "detail": "stop"}
            return await asyncio.to_thread(self._chats.end, message.id, values, opened=False) or message
        return message

    async def _stop_elsewhere(self, message: ChatMessage, seen: int) -> ChatMessage:
        await asyncio.to_thread(self._chats.ask_stop, message.id, seen)
        limit = asyncio.get_running_loop().time() + STOPPING_SECONDS
        while asyncio.get_running_loop().time() < limit:
            await asyncio.sleep(KEEP_SECONDS)
            tree = await asyncio.to_thread(self._chats.tree, message.chat)
            now = next((one for one in tree if one.id == message.id), message)
            if now.status != OPEN:
                return now
        return message

    async def keep(self) -> None:
        """Keeps what has come, a few times a second, until it is cancelled; and ends what others asked to stop."""
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            if self._running:
                await self._keep_once()

    async def _keep_once(self) -> None:
        texts = {ident: made.text for ident, made in self._running.items()}
        try:
            wanted = await asyncio.to_thread(self._chats.grow, texts, self.host, self._clock())
        except (ChatwrightError, SQLAlchemyError) as error:
            log.warning("what was answered could not be kept (%s); tried again", error)
            return
        for ident in texts:
            made = self._running.get(ident)
            if made is None or made.task is None or made.ending:
                continue
            if ident not in wanted:  # its chat was deleted, or somebody took this gateway for dead
                made.task.cancel()
                self._running.pop(ident, None)
                made.ended = replace(made.message, content=made.text, status="interrupted", detail=INTERRUPTED)
                made.tell()
            elif wanted[ident] is not None:
                stopping = asyncio.create_task(self.stop(made.message, wanted[ident] or 0))
                self._ending.add(stopping)
                stopping.add_done_callback(self._ending.discard)

    async def watch_silent(self) -> None:
        """Marks the answers of gateways that are gone, until it is cancelled."""
        while True:
            now = self._clock()
            with contextlib.suppress(ChatwrightError, SQLAlchemyError):
                await asyncio.to_thread(self._chats.interrupt, before=now - SILENT, detail=INTERRUPTED, now=now)
            await asyncio.sleep(SILENT.total_seconds() / 2)

    async def close(self) -> None:
        """Ends everything as interrupted, with what has come."""
        for made in list(self._running.values()):
            if made.task is not None:
                made.task.cancel()
                await asyncio.wait([made.task])
            if made.ended is None:
                await self._end(made, {"status": "interrupted", "detail": INTERRUPTED})
