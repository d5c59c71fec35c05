"""/api/chats and what belongs to it: the tree, asking, stopping, watching, searching, sharing, taking along."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel

from chatwright.engine.protocol import ApiError, parse_json
from chatwright.engine.protocol.body import checked
from chatwright.engine.protocol.errors import invalid
from chatwright.product.accounts.tokens import hash_of
from chatwright.product.chats.bodies import Again, ChatChange, MemoryText, NewChat, NewShare, Stop, Turn
from chatwright.product.chats.desk import Begun, Desk
from chatwright.product.chats.shown import as_markdown, chat_shown, exported, message_shown, named, share_shown
from chatwright.product.chats.streams import event, events, stream
from chatwright.product.identity import person_of, who_of
from chatwright.store.chats import OPEN, Chat, Found, Share, branch, folded
from chatwright.store.listening import PLAIN
from chatwright.store.memories import Memory

Limit = Annotated[int, Query(ge=1, le=200)]
B = TypeVar("B", bound=BaseModel)
SNIPPET = 120
MOST_MEMORIES = 200


async def body_of(request: Request, kind: type[B]) -> B:
    return checked(kind, parse_json(await request.body() or b"{}"), {})


def add_chats(desk: Desk) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    _add_list(router, desk)
    _add_turns(router, desk)
    _add_sharing(router, desk)
    _add_memories(router, desk)
    return router


def _add_list(router: APIRouter, desk: Desk) -> None:
    chats = desk.store.chats

    @router.get("/api/chats")
    async def listed(
        request: Request, archived: bool = False, limit: Limit = 50, before: str | None = None
    ) -> dict[str, Any]:  # fmt: skip
        person = person_of(request)
        after = await asyncio.to_thread(desk.chat, before, person) if before else None
        rows = await asyncio.to_thread(chats.page, person.id, archived=archived, after=after, limit=limit + 1)
        page = rows[:limit]
        return {"data": [chat_shown(one) for one in page], "next": page[-1].id if len(rows) > limit else None}

    @router.post("/api/chats", status_code=201)
    async def created(request: Request) -> dict[str, Any]:
        person, body = person_of(request), await body_of(request, NewChat)
        return chat_shown(await asyncio.to_thread(lambda: desk.new(person, **body.model_dump())))

    @router.delete("/api/chats")
    async def cleared(request: Request) -> dict[str, Any]:
        person = person_of(request)
        used = await desk.listener.deleting(person, None)
        return {"deleted": await asyncio.to_thread(chats.delete, person.id), "used": used}

    @router.get("/api/chats/{ident}")
    async def opened(request: Request, ident: str) -> dict[str, Any]:
        chat = await asyncio.to_thread(desk.chat, ident, person_of(request))
        tree = await asyncio.to_thread(chats.tree, ident)
        writing = {one.message.id: one.text for one in desk.writer.of_chat(ident)}
        marks = await asyncio.to_thread(desk.listener.marks, ident)
        rows = [
            message_shown(one, marks.get(one.id, PLAIN)) | ({"content": writing[one.id]} if one.id in writing else {})
            for one in tree
        ]
        return {"chat": chat_shown(chat), "messages": rows}

    @router.patch("/api/chats/{ident}")
    async def changed(request: Request, ident: str) -> dict[str, Any]:
        person, body = person_of(request), await body_of(request, ChatChange)
        values = {name: getattr(body, name) for name in body.model_fields_set}
        if any(values[name] is None for name in values if name != "training"):
            raise invalid(next(name for name in values if values[name] is None), "it cannot be null")
        if "title" in values:
            values["titled"] = True
        if "leaf" in values:
            await asyncio.to_thread(desk.message, ident, values["leaf"], person)
        if "training" in values:
            if who_of(request).scopes is not None:
                raise ApiError(403, "no API key says what may be learned from; sign in", "insufficient_scope")
            await asyncio.to_thread(desk.chat, ident, person)
            await desk.listener.training(person, ident, values.pop("training"))
        chat = await asyncio.to_thread(chats.change, ident, person.id, values) if values else None
        return chat_shown(chat or await asyncio.to_thread(desk.chat, ident, person))

    @router.delete("/api/chats/{ident}")
    async def deleted(request: Request, ident: str) -> dict[str, Any]:
        person = person_of(request)
        await asyncio.to_thread(desk.chat, ident, person)
        used = await desk.listener.deleting(person, ident)
        return {"deleted": await asyncio.to_thread(chats.delete, person.id, ident), "used": used}

    @router.get("/api/search")
    async def search(request: Request, q: Annotated[str, Query(max_length=200)], limit: Limit = 30) -> dict[str, Any]:
        if not q.strip():
            return {"data": []}
        found = await asyncio.to_thread(chats.search, person_of(request).id, q.strip(), limit)
        return {"data": [found_shown(one, q.strip()) for one in found]}

    @router.get("/api/chats/{ident}/export")
    async def export(request: Request, ident: str, format: str = "json") -> Response:
        chat = await asyncio.to_thread(desk.chat, ident, person_of(request))
        marks = await asyncio.to_thread(desk.listener.marks, ident)
        if format == "markdown":
            shown = await asyncio.to_thread(desk.branch, chat, None)
            return download(as_markdown(chat.title, shown, marks).encode(), "text/markdown", chat, "md")
        if format != "json":
            raise invalid("format", "use json or markdown")
        tree = await asyncio.to_thread(chats.tree, ident)
        text = json.dumps(exported(chat, tree, marks), ensure_ascii=False, indent=2)
        return download(text.encode(), "application/json", chat, "json")


def _add_turns(router: APIRouter, desk: Desk) -> None:
    async def streamed(request: Request, begun: Begun) -> StreamingResponse:
        person = person_of(request)
        plain = begun.new and not begun.compared
        marks = {} if plain else await asyncio.to_thread(desk.listener.marks, begun.chat.id)
        first = event("turn", {
            "user": message_shown(begun.user) if begun.user else None,
            "answers": [message_shown(one, marks.get(one.id, PLAIN)) for one in begun.answers],
            "chat": chat_shown(begun.chat),
        })  # fmt: skip
        sources = {one.id: desk.follow(one, person, 0) for one in begun.answers}
        return stream(events([first], sources, desk.shown))

    @router.post("/api/chats/{ident}/turns")
    async def asked(request: Request, ident: str) -> StreamingResponse:
        body = await body_of(request, Turn)
        return await streamed(request, await desk.ask(person_of(request), ident, body))

    @router.post("/api/chats/{ident}/messages/{message}/regenerate")
    async def regenerated(request: Request, ident: str, message: str) -> StreamingResponse:
        body = await body_of(request, Again)
        return await streamed(request, await desk.again(person_of(request), ident, message, body, rest=False))

    @router.post("/api/chats/{ident}/messages/{message}/continue")
    async def continued(request: Request, ident: str, message: str) -> StreamingResponse:
        body = await body_of(request, Again)
        return await streamed(request, await desk.again(person_of(request), ident, message, body, rest=True))

    @router.post("/api/chats/{ident}/messages/{message}/stop")
    async def stopped(request: Request, ident: str, message: str) -> dict[str, Any]:
        body = await body_of(request, Stop)
        person = person_of(request)
        found = await asyncio.to_thread(desk.message, ident, message, person)
        ended = await desk.writer.stop(found, body.seen)
        if ended.status == "stopped" and found.status != "stopped":
            desk.listener.noted(person, [ended], "stopped")
        return await desk.shown(ended)

    @router.get("/api/chats/{ident}/stream")
    async def watched(request: Request, ident: str) -> StreamingResponse:
        """What is being written in a chat; `from=ID:AT,...` says how much of each the page has."""
        person = person_of(request)
        await asyncio.to_thread(desk.chat, ident, person)
        had = {}
        for part in filter(None, request.query_params.get("from", "").split(",")):
            name, _, at = part.rpartition(":")
            if not re.fullmatch(r"[0-9]{1,8}", at):
                raise invalid("from", "write message:offset, with a comma between several")
            had[name] = int(at)
        tree = await asyncio.to_thread(desk.store.chats.tree, ident)
        wanted = [one for one in tree if one.status == OPEN or one.id in had]
        sources = {one.id: desk.follow(one, person, had.get(one.id, 0)) for one in wanted}
        return stream(events([], sources, desk.shown))


def _add_sharing(router: APIRouter, desk: Desk) -> None:
    chats = desk.store.chats

    @router.post("/api/chats/{ident}/shares", status_code=201)
    async def share(request: Request, ident: str) -> dict[str, Any]:
        """The link's token is shown this once; kept is its hash."""
        person, body = person_of(request), await body_of(request, NewShare)
        chat = await asyncio.to_thread(desk.chat, ident, person)
        shown = await asyncio.to_thread(desk.branch, chat, body.leaf)
        if chat.temporary or not shown:
            raise ApiError(409, "an empty or temporary chat cannot be shared", "not_shareable")
        token = secrets.token_urlsafe(24)
        made = Share(hash_of(token), chat.id, shown[-1].id, datetime.now(UTC), chat.title)
        await asyncio.to_thread(chats.share, made)
        return share_shown(made) | {"token": token}

    @router.get("/api/shares")
    async def shares(request: Request) -> dict[str, Any]:
        rows = await asyncio.to_thread(chats.shares, person_of(request).id)
        return {"data": [share_shown(one) for one in rows]}

    @router.delete("/api/shares/{ident}")
    async def unshare(request: Request, ident: str) -> dict[str, Any]:
        if not await asyncio.to_thread(chats.unshare, ident, person_of(request).id):
            raise ApiError(404, "there is no such link", "share_not_found")
        return {"deleted": [ident]}

    @router.get("/api/shared/{token}")
    async def shared(token: str) -> dict[str, Any]:
        """For whoever has the link: the words and who said them, and nothing about the person."""
        found = await asyncio.to_thread(chats.shared, hash_of(token))
        if found is None:
            raise ApiError(404, "this link shows nothing, or it was taken back", "share_not_found")
        link, tree = found
        marks = await asyncio.to_thread(desk.listener.marks, link.chat)
        rows = [{"role": one.role, "content": one.content, "model": named(one, marks), "id": one.id} for one in
                branch(tree, link.leaf)]  # fmt: skip
        return {"title": link.title, "created": link.created.isoformat(), "messages": rows}


def _add_memories(router: APIRouter, desk: Desk) -> None:
    memories = desk.store.memories

    @router.get("/api/me/memories")
    async def listed(request: Request) -> dict[str, Any]:
        rows = await asyncio.to_thread(memories.all, person_of(request).id)
        return {"data": [memory_shown(one) for one in rows]}

    @router.post("/api/me/memories", status_code=201)
    async def remembered(request: Request) -> dict[str, Any]:
        person, body = person_of(request), await body_of(request, MemoryText)
        if len(await asyncio.to_thread(memories.all, person.id)) >= MOST_MEMORIES:
            raise ApiError(409, f"there are {MOST_MEMORIES} memories already; delete some", "too_many_memories")
        made = Memory(f"mem-{secrets.token_hex(8)}", person.id, body.text, datetime.now(UTC), body.chat)
        await asyncio.to_thread(memories.add, made)
        return memory_shown(made)

    @router.patch("/api/me/memories/{ident}")
    async def edited(request: Request, ident: str) -> dict[str, Any]:
        body = await body_of(request, MemoryText)
        return _found(await asyncio.to_thread(memories.change, ident, person_of(request).id, body.text), ident)

    @router.delete("/api/me/memories/{ident}")
    async def forgotten(request: Request, ident: str) -> dict[str, Any]:
        return _found(await asyncio.to_thread(memories.delete, ident, person_of(request).id), ident)


def _found(there: bool, ident: str) -> dict[str, Any]:
    if not there:
        raise ApiError(404, f"there is no memory {ident[:80]!r}", "memory_not_found")
    return {"id": ident}


def memory_shown(one: Memory) -> dict[str, Any]:
    return {"id": one.id, "text": one.text, "created": one.created.isoformat(), "chat": one.chat}


def found_shown(one: Found, words: str) -> dict[str, Any]:
    """A piece of the message around the words; folding may move them a little."""
    text = one.message.content if one.message else one.chat.title
    at = max(0, folded(text).find(folded(words)))
    begin = max(0, at - SNIPPET // 3)
    snippet = " ".join(text[begin : begin + SNIPPET].split())
    cut = ("…" if begin else "") + snippet + ("…" if begin + SNIPPET < len(text) else "")
    when = (one.message.created if one.message else one.chat.changed).isoformat()
    return {
        "chat": chat_shown(one.chat),
        "message": one.message.id if one.message else None,
        "snippet": cut,
        "at": when,
    }


def download(content: bytes, kind: str, chat: Chat, ending: str) -> Response:
    """A file that no browser opens by itself; its name is made of harmless letters only."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", chat.title).strip("-")[:60] or "chat"
    headers = {"Content-Disposition": f'attachment; filename="{name}.{ending}"'}
    return Response(content, media_type=f"{kind}; charset=utf-8", headers=headers)
