"""The engine server: one process, one model version, the OpenAI shape on a Unix socket or a loopback port.

    python -m chatwright.engine.server --model DIR (--port N | --socket PATH) [--stdin-watch]

`/healthz` answers 503 while the model loads and warms up, then 200. SIGTERM lets running answers finish. With
`--stdin-watch` the end of standard input, which is the end of the parent, ends the process too. Prompts and
answers are never logged.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from chatwright.config import SamplingConfig
from chatwright.engine.http import (
    STREAM_HEADERS,
    BodyLimit,
    Envelope,
    LoopbackNames,
    install_error_bodies,
    unless_disconnected,
)
from chatwright.engine.protocol import DONE, ApiError, ChatRequest, parse_chat, parse_json, sse
from chatwright.engine.protocol import Envelope as AnswerEnvelope
from chatwright.engine.request import Request as EngineRequest
from chatwright.engine.request import SamplingParams
from chatwright.engine.worker import EngineLike, EngineWorker, Generation
from chatwright.errors import ChatwrightError, InputError
from chatwright.machine import prepare_process, use_threads

BODY_LIMIT = 1_000_000
PING_SECONDS = 15.0
DRAIN_SECONDS = 30
BACKLOG = 128
SMALL_MODEL = 20_000_000
"""Parameters."""
Loader = Callable[[Path, int], EngineLike]


def load_engine(path: Path, max_batch: int) -> EngineLike:
    """A small model gets one thread: two that wait for each other at every step are slower, and far slower when
    another process wants the core (measured)."""
    prepare_process()
    from chatwright.engine.core import Engine

    engine = Engine.load(path, max_batch=max_batch)
    use_threads(1 if engine.model.shape.parameters < SMALL_MODEL else 0)
    return engine


def create_engine_app(worker: EngineWorker, *, name: str, defaults: SamplingConfig) -> FastAPI:
    """The HTTP face of one engine; it answers to the engine's id and to `name`."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        worker.start()
        yield
        worker.stop()

    app = FastAPI(title="Chatwright engine", lifespan=lifespan, docs_url=None, redoc_url=None)
    install_error_bodies(app)
    app.add_middleware(BodyLimit, limit=BODY_LIMIT)
    app.add_middleware(LoopbackNames)
    app.add_middleware(Envelope)

    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        status = 200 if worker.state == "ready" else 503
        return JSONResponse({"status": worker.state, "requests": worker.load}, status_code=status)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(worker.engine, name)]}

    @app.get("/v1/models/{ident:path}")
    async def model(ident: str) -> dict[str, Any]:
        _check_model(ident, worker.engine, name)
        return _model(worker.engine, name)

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        wanted = parse_chat(parse_json(await request.body()), defaults)
        _check_model(wanted.model, worker.engine, name)
        tokens, dropped = await asyncio.to_thread(encode, worker.engine, wanted)
        room = worker.engine.context - len(tokens)
        answer = AnswerEnvelope(
            f"chatcmpl-{secrets.token_hex(12)}", int(time.time()), worker.engine.id, wanted.include_usage
        )
        generation = worker.submit(_engine_request(wanted, tokens, room))
        headers = {"x-chatwright-dropped-turns": str(dropped)} if dropped else {}
        if wanted.stream:
            return _GenerationStream(generation, _frames(generation, answer, len(tokens)), headers)
        whole = await unless_disconnected(request.receive, _whole(generation, answer, len(tokens)))
        return JSONResponse(whole, headers=headers) if whole is not None else Response(status_code=499)

    return app


def encode(engine: EngineLike, wanted: ChatRequest) -> tuple[tuple[int, ...], int]:
    """Prompt tokens and how many old turns were cut; raises ApiError where no room for an answer is left."""
    try:
        if wanted.truncation == "auto":
            tokens, dropped = engine.encode_cut(wanted.messages, min(wanted.max_tokens, engine.context // 2))
        else:
            tokens, dropped = engine.encode(wanted.messages), 0
    except InputError as error:
        raise ApiError(400, str(error), "context_length_exceeded", "messages") from None
    if len(tokens) >= engine.context:
        message = f"the messages take {len(tokens)} tokens, but the model reads at most {engine.context}; shorten them"
        raise ApiError(400, message, "context_length_exceeded", "messages")
    return tokens, dropped


def _engine_request(wanted: ChatRequest, tokens: tuple[int, ...], room: int) -> EngineRequest:
    """A budget larger than the room that is left in the context is cut to that room."""
    sampling = SamplingParams(
        max_tokens=min(wanted.max_tokens, room), temperature=wanted.temperature, top_k=wanted.top_k,
        top_p=wanted.top_p, seed=wanted.seed, stop=wanted.stop,
    )  # fmt: skip
    return EngineRequest(tokens, sampling)


def _model(engine: EngineLike, name: str) -> dict[str, Any]:
    about = {"name": name, "context": engine.context}
    return {"id": engine.id, "object": "model", "created": 0, "owned_by": "chatwright", "metadata": about}


def _check_model(wanted: str, engine: EngineLike, name: str) -> None:
    if wanted not in (engine.id, name):
        raise ApiError(404, f"there is no model {wanted!r} here; this is {engine.id!r}", "model_not_found", "model")


async def _whole(generation: Generation, answer: AnswerEnvelope, prompt_tokens: int) -> dict[str, Any]:
    text, count, reason = "", 0, None
    try:
        while reason is None:
            if (step := await generation.next(PING_SECONDS)) is not None:
                text, count, reason = text + step.text, count + 1, step.finish_reason
    finally:
        generation.close()
    return answer.whole(text, reason, prompt_tokens, count)


async def _frames(generation: Generation, answer: AnswerEnvelope, prompt_tokens: int) -> AsyncIterator[bytes]:
    """The stream: role first, text as it becomes visible, one finish, usage where asked for, always [DONE].

    A comment goes out where nothing else does for a while: a queued request must not look dead to proxies.
    """
    yield sse(answer.chunk({"role": "assistant", "content": ""}))
    count, reason = 0, None
    try:
        while reason is None:
            if (step := await generation.next(PING_SECONDS)) is None:
                yield b": waiting\n\n"
                continue
            count, reason = count + 1, step.finish_reason
            if step.text:
                yield sse(answer.chunk({"content": step.text}))
        yield sse(answer.chunk({}, reason))
        if answer.include_usage:
            yield sse(answer.usage_chunk(prompt_tokens, count))
    except ApiError as error:
        yield sse(error.body())
    yield DONE


class _GenerationStream(StreamingResponse):
    """A stream that takes its generation out of the engine however it ends."""

    def __init__(self, generation: Generation, frames: AsyncIterator[bytes], headers: dict[str, str]) -> None:
        super().__init__(frames, media_type="text/event-stream", headers=STREAM_HEADERS | headers)
        self._generation = generation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._generation.close()


def bind(args: argparse.Namespace) -> socket.socket:
    """The listening socket, taken before the model is loaded so that a taken port costs nothing.

    Callers who have read the address and come before the server runs wait in its queue instead of being refused.
    """
    if args.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(args.socket)
        os.chmod(args.socket, 0o600)
        listener.listen(BACKLOG)
        return listener
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", args.port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise ChatwrightError(
            f"port {args.port} is taken by another program; stop it or use --port with another number"
        ) from None
    return listener


def end_with_parent() -> None:
    """Ends this process when standard input closes: the parent holds its other end and never writes."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(DRAIN_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chatwright.engine.server", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a checkpoint folder")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--port", type=int, default=8601, help="loopback port; 0 takes a free one")
    where.add_argument("--socket", help="path of a Unix socket instead of a port")
    parser.add_argument("--name", default="", help="a second name the model answers to")
    parser.add_argument("--max-batch", type=int, default=16)
    parser.add_argument("--max-queue", type=int, default=64)
    parser.add_argument("--sampling", default="{}", help="default sampling parameters as a JSON object")
    parser.add_argument("--stdin-watch", action="store_true", help="end when standard input ends")
    return parser


def main(arguments: Sequence[str] | None = None, load: Loader = load_engine) -> int:
    args = _parser().parse_args(arguments)
    failure: list[Exception] = []
    try:
        listener = bind(args)
    except ChatwrightError as error:
        print(error, file=sys.stderr)
        return 2
    if args.stdin_watch:
        end_with_parent()

    def ended(error: Exception) -> None:
        failure.append(error)
        server.should_exit = True

    worker = EngineWorker(lambda: load(args.model, args.max_batch), limit=args.max_batch + args.max_queue, on_end=ended)
    defaults = SamplingConfig.model_validate_json(args.sampling)
    app = create_engine_app(worker, name=args.name or args.model.name, defaults=defaults)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=DRAIN_SECONDS)
    )
    if not args.socket:
        print(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}"}), flush=True)
    server.run(sockets=[listener])
    if failure:
        print(_sentence(failure[0]), file=sys.stderr)
        return 2 if isinstance(failure[0], ChatwrightError) else 1
    return 0


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, ChatwrightError) else f"the engine failed: {type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())
