"""Rating, flagging and comparing answers; what a page saw somebody do with one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request

from chatwright.engine.protocol import ApiError
from chatwright.engine.protocol.errors import invalid
from chatwright.product.chats.desk import Desk
from chatwright.product.chats.routes import body_of
from chatwright.product.chosen import Chosen
from chatwright.product.identity import person_of
from chatwright.product.listening.bodies import BLAME, PRAISE, FlagBody, RatingBody, SettleBody, SignalBody
from chatwright.store import Person
from chatwright.store.chats import OPEN, ChatMessage
from chatwright.store.listening import Rated, TooMany

SIGNALS_PER_MINUTE = 120
Clock = Callable[[], datetime]


def add_listening(desk: Desk, chosen: Chosen, clock: Clock = lambda: datetime.now(UTC)) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    listening = desk.store.listening

    async def answer(request: Request, chat: str, message: str) -> tuple[Person, ChatMessage]:
        person = person_of(request)
        found = await asyncio.to_thread(desk.message, chat, message, person)
        if found.role != "assistant":
            raise invalid("message", "this is said of answers, not of questions")
        return person, found

    @router.put("/api/chats/{ident}/messages/{message}/rating")
    async def rated(request: Request, ident: str, message: str) -> dict[str, Any]:
        body = await body_of(request, RatingBody)
        person, about = await answer(request, ident, message)
        allowed = {1: PRAISE, -1: BLAME, 0: ()}[body.value]
        if wrong := [tag for tag in body.tags if tag not in allowed]:
            offered = f"use {', '.join(allowed)}" if allowed else "a rating that is taken back has none"
            raise invalid("tags", f"there is no tag {wrong[0][:40]!r} here; {offered}")
        said = Rated(body.value, tuple(sorted(set(body.tags))), body.text if body.value else "")
        most = (await chosen.now()).feedback_per_minute
        await bounded(listening.rate, person.id, about, said, clock(), most)
        return {"value": said.value, "tags": list(said.tags), "text": said.text}

    @router.post("/api/chats/{ident}/messages/{message}/flag", status_code=201)
    async def flagged(request: Request, ident: str, message: str) -> dict[str, Any]:
        body = await body_of(request, FlagBody)
        person, about = await answer(request, ident, message)
        most = (await chosen.now()).feedback_per_minute
        made = await bounded(
            listening.flag, person.id, about, body.reason, body.text, body.covers, clock(), most
        )  # fmt: skip
        return {"id": made, "state": "open"}

    @router.post("/api/chats/{ident}/messages/{message}/signals", status_code=201)
    async def signalled(request: Request, ident: str, message: str) -> dict[str, Any]:
        body = await body_of(request, SignalBody)
        person, about = await answer(request, ident, message)
        await bounded(listening.signal, person.id, about, body.kind, clock(), SIGNALS_PER_MINUTE)
        return {"kind": body.kind}

    @router.put("/api/comparisons/{ident}")
    async def settled(request: Request, ident: str) -> dict[str, Any]:
        person, body = person_of(request), await body_of(request, SettleBody)
        known = await asyncio.to_thread(listening.comparison, ident, person.id)
        if known is None:
            raise ApiError(404, f"there is no comparison {ident[:80]!r}", "comparison_not_found")
        sides = [await asyncio.to_thread(desk.message, known.chat, one, person) for one in (known.left, known.right)]
        if any(one.status == OPEN for one in sides):
            raise ApiError(409, "wait until both answers have ended", "comparison_open")
        most = (await chosen.now()).feedback_per_minute
        now = await bounded(listening.settle, ident, person.id, body.choice, body.tags, body.text, clock(), most)
        if now is None:
            raise ApiError(404, f"there is no comparison {ident[:80]!r}", "comparison_not_found")
        if now.choice != body.choice:
            words = f"this was settled before ({now.choice}); the names are known now, so it stays"
            raise ApiError(409, words, "comparison_settled")
        left, right = ({"message": one.id, "model": one.model, "version": one.version} for one in sides)
        said = {"choice": now.choice, "tags": list(now.tags), "text": now.text}
        return {"id": ident, "left": left, "right": right} | said

    return router


async def bounded(work: Callable[..., Any], *arguments: Any) -> Any:
    """What `work` in the database comes to; 429 where somebody says too much in a minute."""
    try:
        return await asyncio.to_thread(work, *arguments)
    except TooMany as error:
        raise ApiError(429, str(error), "rate_limit_exceeded", headers={"Retry-After": "20"}) from None
