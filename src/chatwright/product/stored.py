"""Stored chat completions: found again, listed, given other metadata, deleted."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from pydantic import BaseModel

from chatwright.engine.openapi import described
from chatwright.engine.protocol import ApiError, ChatBody, parse_json
from chatwright.engine.protocol.documents import ChatCompletion, Deleted, ToolCall
from chatwright.product.identity import owners_of, person_of
from chatwright.product.recording import checked_metadata
from chatwright.store import Answer, Answers

CHAT = "chat.completion"
Limit = Annotated[int, Query(ge=1, le=100)]
Order = Literal["asc", "desc"]


class KeepingChatBody(ChatBody):
    """The body of POST /v1/chat/completions where answers can be kept."""

    store: bool | None = None


class StoredCompletion(ChatCompletion):
    metadata: dict[str, str]
    temperature: float | None
    top_p: float | None
    seed: int | None
    tools: list[dict[str, Any]] | None
    tool_choice: str | dict[str, Any] | None


class MetadataBody(BaseModel):
    metadata: dict[str, str] | None


class StoredList(BaseModel):
    object: Literal["list"]
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


class CompletionPage(StoredList):
    data: list[StoredCompletion]  # type: ignore[assignment]  # rows of StoredList, told more closely


class StoredMessage(BaseModel):
    id: str
    role: str
    name: str | None
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[ToolCall] | None = None


class MessagePage(StoredList):
    data: list[StoredMessage]  # type: ignore[assignment]  # as above


def page_of(rows: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """OpenAI's list body of the first `limit` rows."""
    page = rows[:limit]
    first, last = (page[0]["id"], page[-1]["id"]) if page else (None, None)
    return {"object": "list", "data": page, "first_id": first, "last_id": last, "has_more": len(rows) > limit}


def shown(row: Answer) -> dict[str, Any]:
    """A stored completion as it was answered, with the request's parameters and its metadata."""
    assert row.content is not None
    asked = {key: row.content["request"].get(key) for key in ("temperature", "top_p", "seed", "tools", "tool_choice")}
    return {**row.content["answer"], **asked, "metadata": row.content["metadata"]}


def add_stored(app: FastAPI, answers: Answers) -> None:
    async def stored(request: Request, ident: str) -> Answer:
        owners = owners_of(person_of(request))
        row = await asyncio.to_thread(answers.get, ident, CHAT, stored=True, owners=owners)
        if row is None:
            raise ApiError(404, f"there is no stored completion {ident[:120]!r}", "not_found", "completion_id")
        return row

    @app.get("/v1/chat/completions", **described(CompletionPage))
    async def listed(
        request: Request, model: str | None = None, after: str | None = None, limit: Limit = 20, order: Order = "asc"
    ) -> dict[str, Any]:
        prefix = "metadata["
        wanted = {k[len(prefix) : -1]: v for k, v in request.query_params.items() if k.startswith(prefix)}

        def fits(row: Answer) -> bool:
            assert row.content is not None
            metadata = row.content["metadata"]
            named = model is None or model in (row.model, row.version)
            return named and all(metadata.get(key) == value for key, value in wanted.items())

        rows = await asyncio.to_thread(
            answers.find, CHAT, wanted=fits, after=after, limit=limit + 1, newest_first=order == "desc",
            owners=owners_of(person_of(request)),
        )  # fmt: skip
        return page_of([shown(row) for row in rows], limit)

    @app.get("/v1/chat/completions/{ident}", **described(StoredCompletion))
    async def retrieved(request: Request, ident: str) -> dict[str, Any]:
        return shown(await stored(request, ident))

    @app.get("/v1/chat/completions/{ident}/messages", **described(MessagePage))
    async def messages(
        request: Request, ident: str, after: str | None = None, limit: Limit = 20, order: Order = "asc"
    ) -> dict[str, Any]:
        content = (await stored(request, ident)).content
        assert content is not None
        asked = content["request"].get("messages") or []
        rows = [{"id": f"{ident}-{index}", "name": None, **turn} for index, turn in enumerate(asked)]
        rows = rows if order == "asc" else rows[::-1]
        behind = next((at + 1 for at, row in enumerate(rows) if row["id"] == after), 0)
        return page_of(rows[behind:], limit)

    @app.post("/v1/chat/completions/{ident}", **described(StoredCompletion, MetadataBody))
    async def changed(ident: str, request: Request) -> dict[str, Any]:
        body = parse_json(await request.body())
        if "metadata" not in body:
            raise ApiError(400, "metadata: field required", "missing_required_parameter", "metadata")
        row = await stored(request, ident)
        assert row.content is not None
        content = row.content | {"metadata": checked_metadata(body["metadata"])}
        await asyncio.to_thread(answers.change, ident, content)
        return shown(await stored(request, ident))

    @app.delete("/v1/chat/completions/{ident}", **described(Deleted))
    async def deleted(request: Request, ident: str) -> dict[str, Any]:
        await stored(request, ident)
        await asyncio.to_thread(answers.change, ident, None)
        return {"id": ident, "object": "chat.completion.deleted", "deleted": True}
