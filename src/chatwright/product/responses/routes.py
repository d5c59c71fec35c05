"""The routes of /v1/responses: create, whole or as events; retrieve; list what was given; delete."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from chatwright.engine.http import STREAM_HEADERS, unless_disconnected
from chatwright.engine.openapi import described
from chatwright.engine.protocol import ApiError, parse_json
from chatwright.engine.protocol.documents import Deleted
from chatwright.product.frames import EventReader
from chatwright.product.identity import owners_of, person_of
from chatwright.product.measures import Timed
from chatwright.product.proxy import LOST, json_of, passed_on
from chatwright.product.recording import checked_metadata, prompt_hash, sampling_of
from chatwright.product.responses.answer import Event, Writer, as_chunk, new_id, opening, told_again, turns_said
from chatwright.product.responses.body import ResponseBody, chat_body, parse_response
from chatwright.product.responses.documents import ResponseObject
from chatwright.product.serving import ServedModel
from chatwright.product.stored import Order, StoredList, page_of
from chatwright.product.upstream import Reply, UpstreamError
from chatwright.store import Answer, Answers, Person

KIND = "response"
Ask = Callable[[dict[str, Any]], Coroutine[Any, Any, Reply]]
Open = Callable[[Any, Person], tuple[ServedModel, Ask, Timed]]
"""From a model's name and who asks: the model, how a chat completion is asked of it, the clock of this request."""


class _Asked:
    """One request on its way: what was asked, what the answer is written into, and where it is entered."""

    def __init__(
        self, answers: Answers, parsed: ResponseBody, raw: dict[str, Any], model: ServedModel, turns: list[Any],
        timed: Timed, owner: str,
    ) -> None:  # fmt: skip
        self.answers, self.parsed, self.raw, self.model, self.turns = answers, parsed, raw, model, turns
        self.timed, self.owner = timed, owner
        self.created = datetime.now(UTC)
        self.writer = Writer(opening(parsed, new_id("resp"), int(time.time())))

    async def enter(self) -> None:
        response = self.writer.response
        content = None
        if self.parsed.store is not False:
            said = turns_said(response["output"])
            content = {"answer": response, "messages": self.turns, "next": [*self.turns, *said],
                       "input": self.raw["input"], "said": self.writer.said}  # fmt: skip
        row = Answer(
            response["id"], KIND, self.model.name, self.model.id, self.created, prompt_hash(self.turns),
            sampling_of(self.raw), content, self.owner,
        )  # fmt: skip
        await asyncio.to_thread(self.answers.add, row)
        self.timed.done()

    async def events(self, upstream: Reply) -> AsyncIterator[Event]:
        """The answer is entered before its last event is sent."""
        reader, error, whole = EventReader(), None, False
        for event in self.writer.begin():
            yield event
        try:
            async for block in upstream.aiter_bytes():
                self.timed.first()
                whole = whole or b"[DONE]" in block
                for chunk in reader.feed(block):
                    error = chunk.get("error") or error
                    for event in self.writer.chunk(chunk):
                        yield event
        except UpstreamError:
            whole = False
        if error is None and not whole:
            error = LOST.body()["error"]
        *before, last = self.writer.end() if error is None else self.writer.fail(error)
        for event in before:
            yield event
        await self.enter()
        yield last


def framed(event: Event) -> bytes:
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return f"event: {event['type']}\ndata: {text}\n\n".encode()


class _EventStream(StreamingResponse):
    """Lets go of its upstream however it ends."""

    def __init__(self, asked: _Asked, upstream: Reply) -> None:
        async def frames() -> AsyncIterator[bytes]:
            async for event in asked.events(upstream):
                yield framed(event)

        headers = STREAM_HEADERS | passed_on(upstream)
        super().__init__(frames(), media_type="text/event-stream", headers=headers)
        self._upstream = upstream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._upstream.aclose()


def add_responses(app: FastAPI, answers: Answers, open_model: Open) -> None:
    async def stored(request: Request, ident: str, param: str = "response_id") -> dict[str, Any]:
        owners = owners_of(person_of(request))
        row = await asyncio.to_thread(answers.get, ident, KIND, stored=True, owners=owners)
        if row is None or row.content is None:
            raise ApiError(404, f"there is no stored response {ident[:120]!r}", "not_found", param)
        return row.content

    @app.post("/v1/responses", **described(ResponseObject, ResponseBody, stream=True))
    async def create(request: Request) -> Response:
        raw = parse_json(await request.body())
        parsed = parse_response(raw)
        checked_metadata(parsed.metadata)
        person = person_of(request)
        model, ask, timed = open_model(parsed.model, person)
        before = parsed.previous_response_id
        history = (await stored(request, before, "previous_response_id"))["next"] if before else []
        body, turns = chat_body(parsed, history)
        asked = _Asked(answers, parsed, raw, model, turns, timed, person.id)
        if parsed.stream:
            options = {"stream": True, "stream_options": {"include_usage": True}}
            return _EventStream(asked, await ask(body | options))
        answer = await unless_disconnected(request.receive, ask(body))
        if answer is None:
            return Response(status_code=499)
        for event in (asked.writer.begin(), asked.writer.chunk(as_chunk(json_of(answer))), asked.writer.end()):
            list(event)
        timed.first()
        await asked.enter()
        return JSONResponse(asked.writer.response, headers=passed_on(answer))

    @app.get("/v1/responses/{ident}", **described(ResponseObject, stream=True))
    async def retrieve(
        request: Request, ident: str, stream: bool = False, starting_after: int | None = None,
        include_obfuscation: bool = False,
    ) -> Response:  # fmt: skip
        if starting_after is not None:  # the first stream's events were cut elsewhere, so their numbers say nothing
            raise ApiError(
                400, "a response is told again from its beginning", "unsupported_parameter", "starting_after"
            )
        answer = (await stored(request, ident))["answer"]
        if not stream:
            return JSONResponse(answer)
        frames = (framed(event) for event in told_again(answer))
        return StreamingResponse(frames, media_type="text/event-stream", headers=STREAM_HEADERS)

    @app.get("/v1/responses/{ident}/input_items", **described(StoredList))
    async def input_items(
        request: Request, ident: str, after: str | None = None, order: Order = "desc",
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> dict[str, Any]:  # fmt: skip
        given = (await stored(request, ident))["input"]
        items = (
            [{"role": "user", "content": [{"type": "input_text", "text": given}]}] if isinstance(given, str) else given
        )
        rows = [{"type": "message", **item, "id": f"item_{index}_{ident}"} for index, item in enumerate(items)]
        rows = rows if order == "asc" else rows[::-1]
        behind = next((at + 1 for at, row in enumerate(rows) if row["id"] == after), 0)
        return page_of(rows[behind:], limit)

    @app.delete("/v1/responses/{ident}", **described(Deleted))
    async def delete(request: Request, ident: str) -> dict[str, Any]:
        await stored(request, ident)
        await asyncio.to_thread(answers.change, ident, None)
        return {"id": ident, "object": "response", "deleted": True}
