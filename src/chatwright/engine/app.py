"""The HTTP face of one engine: the OpenAI API, health and metrics."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from chatwright.config import SamplingConfig
from chatwright.engine.asking import Asked, ask_chat, ask_completion, prompt_tokens
from chatwright.engine.http import BodyLimit, LoopbackNames, install_error_bodies, keep_log_quiet, unless_disconnected
from chatwright.engine.http import Envelope as HeaderEnvelope
from chatwright.engine.metrics import EngineMetrics
from chatwright.engine.openapi import described, document_models
from chatwright.engine.protocol import (
    ApiError,
    ChatBody,
    CompletionBody,
    EmbeddingBody,
    Envelope,
    embedding_answer,
    parse_chat,
    parse_completion,
    parse_embedding,
    parse_json,
)
from chatwright.engine.protocol.completions import prompts_of
from chatwright.engine.protocol.documents import ChatCompletion, EmbeddingList, Model, ModelList, TextCompletion
from chatwright.engine.protocol.errors import invalid
from chatwright.engine.replies import Reply, ReplyStream
from chatwright.engine.worker import EngineLike, EngineWorker
from chatwright.errors import InputError

BODY_LIMIT = 1_000_000
MOST_COMPILING = 64
"""Requests whose schema waits to be compiled; one more is refused with 429."""
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class EngineFace:
    """What the routes share: the worker, its second name, default sampling, and the mark of its weights.

    `adapters` are served as models of their names, and have marks of their own.
    """

    def __init__(
        self, worker: EngineWorker, metrics: EngineMetrics, *, name: str, defaults: SamplingConfig, fingerprint: str,
        adapters: Mapping[str, str],
    ) -> None:  # fmt: skip
        self.worker, self.metrics, self.name, self.defaults = worker, metrics, name, defaults
        self.fingerprint, self.adapters = fingerprint, adapters
        self._compiler, self._compiling = ThreadPoolExecutor(1, "schemas"), 0

    def engine(self, wanted: str) -> EngineLike:
        """The engine, where it, or one of its adapters, is what is asked for."""
        engine = self.worker.engine
        if wanted not in (engine.id, self.name, *self.adapters):
            raise ApiError(404, f"there is no model {wanted[:80]!r} here; this is {engine.id!r}", "model_not_found",
                           "model")  # fmt: skip
        return engine

    def describe(self, engine: EngineLike, wanted: str = "") -> dict[str, Any]:
        ident, about = engine.id, {"name": self.name, "context": engine.context}
        if wanted in self.adapters:
            ident, about = wanted, about | {"name": wanted, "adapter_of": engine.id}
        else:
            about["embeddings"] = "mean of the hidden states"
        return {"id": ident, "object": "model", "created": 0, "owned_by": "chatwright", "metadata": about}

    async def answer(self, request: Request, asked: Asked, envelope: Envelope, *, stream: bool) -> Response:
        adapter = envelope.model if envelope.model in self.adapters else ""
        requests = [replace(request, adapter=adapter) for request in asked.requests]
        try:
            if schema := asked.requests[0].sampling.schema:
                await self._compile(schema)
            reply = Reply(self.worker, requests, asked.choices, asked.prompts)
        except InputError as error:
            param = "response_format" if asked.requests[0].sampling.schema else None
            raise ApiError(400, str(error), "invalid_value", param) from None
        headers = {"x-chatwright-dropped-turns": str(asked.dropped)} if asked.dropped else {}
        if stream:
            return ReplyStream(reply, envelope, headers)
        whole = await unless_disconnected(request.receive, reply.whole(envelope))
        return JSONResponse(whole, headers=headers) if whole is not None else Response(status_code=499)

    async def _compile(self, schema: str) -> None:
        """In a thread of its own, so that schemas wait for each other and nobody waits for schemas."""
        if self._compiling >= MOST_COMPILING:
            raise ApiError(429, "too many schemas are waiting; try again in a moment", "queue_full",
                           headers={"Retry-After": "1"})  # fmt: skip
        self._compiling += 1
        try:
            await asyncio.get_running_loop().run_in_executor(self._compiler, self.worker.engine.prepare, schema)
        finally:
            self._compiling -= 1

    def envelope(
        self, kind: Literal["chat.completion", "text_completion"], wanted: str, *, include_usage: bool,
        logprobs: int | None,
    ) -> Envelope:  # fmt: skip
        prefix = "chatcmpl" if kind == "chat.completion" else "cmpl"
        model = wanted if wanted in self.adapters else self.worker.engine.id
        return Envelope(
            f"{prefix}-{secrets.token_hex(12)}", int(time.time()), model,
            self.adapters.get(wanted, self.fingerprint), kind, include_usage, logprobs,
        )  # fmt: skip


def create_engine_app(
    worker: EngineWorker, metrics: EngineMetrics, *, name: str, defaults: SamplingConfig, fingerprint: str = "",
    adapters: Mapping[str, str] = MappingProxyType({}),
) -> FastAPI:  # fmt: skip
    """The application of one engine; it answers to the engine's id, to `name`, and to those of its `adapters`, each
    with the mark of its weights."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        worker.start()
        yield
        worker.stop()

    keep_log_quiet()
    app = FastAPI(title="Chatwright engine", lifespan=lifespan, docs_url=None, redoc_url=None)
    install_error_bodies(app)
    app.add_middleware(BodyLimit, limit=BODY_LIMIT)
    app.add_middleware(LoopbackNames)
    app.add_middleware(HeaderEnvelope)
    mark = fingerprint or f"fp_{name}"
    face = EngineFace(worker, metrics, name=name, defaults=defaults, fingerprint=mark, adapters=adapters)
    _add_state(app, face)
    _add_texts(app, face)
    document_models(
        app, ChatBody, CompletionBody, EmbeddingBody, ChatCompletion, TextCompletion, EmbeddingList, Model, ModelList
    )
    return app


def _add_state(app: FastAPI, face: EngineFace) -> None:
    worker = face.worker

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> JSONResponse:
        status = 200 if worker.state == "ready" else 503
        ready = {"computes": worker.engine.computes} if worker.state == "ready" else {}
        return JSONResponse({"status": worker.state, "requests": worker.load, **ready}, status_code=status)

    @app.get("/metrics", include_in_schema=False)
    async def measured() -> Response:
        ready = worker.state == "ready"
        return Response(face.metrics.text(worker.load, worker.engine.waiting if ready else 0), media_type=METRICS_TYPE)

    @app.get("/v1/models", **described(ModelList))
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [face.describe(worker.engine, wanted) for wanted in ("", *face.adapters)]}

    @app.get("/v1/models/{ident:path}", **described(Model))
    async def model(ident: str) -> dict[str, Any]:
        return face.describe(face.engine(ident), ident)

    @app.delete("/v1/models/{ident:path}", **described(None))
    async def delete_model(ident: str) -> dict[str, Any]:
        face.engine(ident)
        raise undeletable(ident)


def undeletable(ident: str) -> ApiError:
    return ApiError(403, f"the model {ident[:80]!r} is served and cannot be deleted here", "permission_denied", "model")


def _add_texts(app: FastAPI, face: EngineFace) -> None:
    @app.post("/v1/chat/completions", **described(ChatCompletion, ChatBody, stream=True))
    async def chat(request: Request) -> Response:
        wanted = parse_chat(parse_json(await request.body()), face.defaults)
        asked = await asyncio.to_thread(ask_chat, face.engine(wanted.model), wanted)
        envelope = face.envelope(
            "chat.completion", wanted.model, include_usage=wanted.include_usage,
            logprobs=wanted.top_logprobs if wanted.logprobs else None,
        )  # fmt: skip
        return await face.answer(request, asked, envelope, stream=wanted.stream)

    @app.post("/v1/completions", **described(TextCompletion, CompletionBody, stream=True))
    async def completions(request: Request) -> Response:
        wanted = parse_completion(parse_json(await request.body()), face.defaults)
        asked = await asyncio.to_thread(ask_completion, face.engine(wanted.model), wanted)
        envelope = face.envelope(
            "text_completion", wanted.model, include_usage=wanted.include_usage, logprobs=wanted.logprobs
        )
        return await face.answer(request, asked, envelope, stream=wanted.stream)

    @app.post("/v1/embeddings", **described(EmbeddingList, EmbeddingBody))
    async def embeddings(request: Request) -> dict[str, Any]:
        wanted = parse_embedding(parse_json(await request.body()))
        engine = face.engine(wanted.model)
        if wanted.model in face.adapters:
            raise invalid("model", f"embeddings are those of the model itself; ask for {engine.id!r}")
        texts = [prompt_tokens(engine, one, "input") for one in prompts_of(wanted.input)]
        vectors = await face.worker.run(lambda engine: engine.embed(texts))
        return embedding_answer(engine.id, vectors, sum(map(len, texts)), wanted.encoding_format)
