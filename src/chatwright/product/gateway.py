"""The gateway application: pages, the build's progress, and the OpenAI API in front of the engines."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles

from chatwright.config import ServeConfig
from chatwright.engine.app import METRICS_TYPE, undeletable
from chatwright.engine.http import (
    STREAM_HEADERS,
    BodyLimit,
    Envelope,
    install_error_bodies,
    unless_disconnected,
)
from chatwright.engine.openapi import described, document_models
from chatwright.engine.protocol import (
    ApiError,
    CompletionBody,
    EmbeddingBody,
    parse_embedding,
    parse_json,
)
from chatwright.engine.protocol.documents import (
    ChatCompletion,
    Deleted,
    EmbeddingList,
    Model,
    ModelList,
    TextCompletion,
)
from chatwright.engine.protocol.errors import invalid
from chatwright.errors import InputError
from chatwright.product.accounts.limits import Meter
from chatwright.product.accounts.wiring import put_accounts
from chatwright.product.build import BuildLog, follow
from chatwright.product.cards import card_of
from chatwright.product.chats.desk import Desk
from chatwright.product.chats.generation import Ask, Writer
from chatwright.product.chats.routes import add_chats
from chatwright.product.chosen import Chosen
from chatwright.product.consent.lineage import Lineage
from chatwright.product.consent.routes import add_consent
from chatwright.product.feedback import FeedbackAnswer, FeedbackBody, add_feedback
from chatwright.product.files import LARGEST_FILE, FileObject, FilePage, add_files
from chatwright.product.identity import person_of, who_of
from chatwright.product.listening.listener import Listener
from chatwright.product.listening.routes import add_listening
from chatwright.product.measures import Counted, Measures, Timed
from chatwright.product.operator.routes import add_operator
from chatwright.product.operator.traffic import Traffic
from chatwright.product.proxy import ask, forward, json_of
from chatwright.product.recording import Recorder
from chatwright.product.repeats import IdempotencyKeys
from chatwright.product.responses import add_responses
from chatwright.product.responses.body import ResponseBody
from chatwright.product.responses.documents import ResponseObject
from chatwright.product.responses.routes import Ask as AskWhole
from chatwright.product.retention import retain
from chatwright.product.security import REPORT_POLICY, SECURITY_HEADERS
from chatwright.product.serving import SERVING_FILE, ServedModel, Serving, read_serving
from chatwright.product.stored import (
    CompletionPage,
    KeepingChatBody,
    MessagePage,
    MetadataBody,
    StoredCompletion,
    StoredList,
    add_stored,
)
from chatwright.product.supervisor import ENGINE_COMMAND, Supervisor
from chatwright.store import Person, Store, sqlite_url

BODY_LIMIT = 1_000_000
FORM_ROOM = 100_000
"""Bytes of a form around the file in it."""
READY_PATIENCE_SECONDS = 30.0
"""How long a message waits for an engine that is starting or being restarted."""
SERVING_POLL_SECONDS = 1.0
STATIC = Path(__file__).parent / "static"
log = logging.getLogger(__name__)


class Gateway:
    """What the routes share: the models served, their engines and the build that is watched.

    Without `fixed` models it follows `serving.json` in the workspace and takes up what appears there.
    """

    def __init__(
        self, settings: ServeConfig, workspace: Path, fixed: Serving | None, engine_command: Sequence[str]
    ) -> None:
        self.serving = Serving()
        self.build = BuildLog(workspace)
        self.ending = False
        self.supervisor = Supervisor(settings, engine_command)
        self.measures = Measures()
        self.meter = Meter(settings)
        self._file, self._fixed = workspace / SERVING_FILE, fixed
        self._seen: tuple[int, ...] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        watcher: asyncio.Task[None] | None = None
        if self._fixed is not None:
            await self._serve(self._fixed)
        else:
            watcher = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            self.ending = True
            if watcher is not None:
                watcher.cancel()
            await self.supervisor.stop()

    async def _serve(self, serving: Serving) -> None:
        self.serving = serving
        await self.supervisor.serve(serving.models)

    async def _watch(self) -> None:
        while True:
            stamp = _stamp(self._file)
            if stamp != self._seen:
                self._seen = stamp
                try:
                    await self._serve(read_serving(self._file))
                except InputError as error:
                    log.warning("%s; what was served before stays", error)
            await asyncio.sleep(SERVING_POLL_SECONDS)

    def offered(self, person: Person | None) -> Serving:
        """What somebody may use: models that are not out yet only with the right group or role."""
        return self.serving.seen(early=person is not None and (person.early or person.role in ("operator", "admin")))

    def model(self, wanted: Any, person: Person) -> ServedModel:
        """Raises ApiError(404) where nothing that the person may use has that id or name."""
        serving = self.offered(person)
        found = serving.find(wanted) if isinstance(wanted, str) else None
        if found is None:
            offered = ", ".join(model.name for model in serving.models) or "none yet; a build may be running"
            raise ApiError(
                404, f"there is no model {str(wanted)[:80]!r}; offered: {offered}", "model_not_found", "model"
            )
        return found

    def wait(self, model: ServedModel) -> Callable[[], Awaitable[None]]:
        """Waits until what answers for the model is ready."""
        engine = self.supervisor.engine(model.id)
        return lambda: engine.wait_ready(READY_PATIENCE_SECONDS, lambda: self.ending)

    def asking(self, model: ServedModel, person: Person) -> Ask:
        """How an answer of a chat is asked for; raises ApiError(429) where the person may have no more at once."""
        engine = self.supervisor.engine(model.id)
        return self.meter.metered(person, lambda body: ask("/chat/completions", body, engine, self.wait(model)))

    async def engine_metrics(self) -> list[str]:
        engines = [self.supervisor.engine(model.id) for model in self.serving.models]
        return await asyncio.gather(*(engine.metrics() for engine in engines))

    def offers(self, wanted: str, person: Person) -> str | None:
        """The id of the version behind a name, where the person may use it and it can answer at once."""
        try:
            model = self.model(wanted or "default", person)
        except ApiError:
            return None
        return model.id if self.supervisor.engine(model.id).state == "ready" else None

    def describe(self, model: ServedModel) -> dict[str, Any]:
        engine = self.supervisor.engine(model.id)
        about = {
            "name": model.name, "role": model.role, "default": model == self.serving.default, "state": engine.state,
            "reason": engine.reason, "parameters": model.parameters, "source": model.source,
        }  # fmt: skip
        return {"id": model.id, "object": "model", "created": 0, "owned_by": "chatwright", "metadata": about}


def _stamp(file: Path) -> tuple[int, ...] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def create_app(
    settings: ServeConfig,
    workspace: Path,
    *,
    models: Serving | None = None,
    engine_command: Sequence[str] = ENGINE_COMMAND,
    on_start: Callable[[], None] = lambda: None,
    static: Path = STATIC,
) -> FastAPI:
    """The application; `app.state.gateway` is its Gateway. `models` fixes what is served."""
    gateway = Gateway(settings, workspace, models, engine_command)
    store = Store.open(settings.database or sqlite_url(workspace / "chatwright.db"))
    store.replays.release_unsettled()
    writer = Writer(store.chats)
    chosen = Chosen(store, settings)
    lineage = Lineage(store, workspace)
    versions = lambda: {model.name: model.id for model in gateway.serving.models}  # noqa: E731
    traffic = Traffic(gateway.engine_metrics, versions, gateway.measures)
    listener = Listener(store, chosen, gateway.offers, lineage)
    sampling = settings.sampling.model_dump()
    desk = Desk(store, gateway, writer, lambda: gateway.ending, listener, sampling)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with gateway.running():
            retained = retain(store, chosen, settings.session_idle_days)
            works = (retained, writer.keep(), writer.watch_silent(), traffic.watch())
            beside = [asyncio.create_task(work) for work in works]
            on_start()
            yield
            for task in beside:
                task.cancel()
            await writer.close()
            await listener.close()
        accounts.close()
        store.close()

    app = FastAPI(title="Chatwright", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.gateway = gateway
    install_error_bodies(app)
    app.add_middleware(IdempotencyKeys, replays=store.replays)
    app.add_middleware(BodyLimit, limit=BODY_LIMIT, larger={"/v1/files": LARGEST_FILE + FORM_ROOM})
    accounts = put_accounts(app, store, settings, gateway.meter)
    app.add_middleware(Counted, measures=gateway.measures)
    app.add_middleware(Envelope, headers=SECURITY_HEADERS)
    _add_state(app, gateway)
    _add_api(app, gateway, store, workspace)
    app.include_router(add_chats(desk))
    app.include_router(add_listening(desk, chosen))
    files = store.uploads(workspace / "files")
    app.include_router(add_consent(store, files, lineage, verify=accounts.verify, buckets=accounts.buckets))
    app.include_router(add_operator(accounts, chosen, traffic))
    _add_build(app, gateway)
    _add_pages(app, static)
    return app


def _add_state(app: FastAPI, gateway: Gateway) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def healthz(request: Request) -> dict[str, Any]:
        offered = gateway.offered(who_of(request).person)
        states = {model.name: gateway.supervisor.engine(model.id).state for model in offered.models}
        default = offered.default
        return {"status": "ok", "ready": default is not None and states[default.name] == "ready", "models": states}

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(gateway.measures.text(await gateway.engine_metrics()), media_type=METRICS_TYPE)

    @app.get("/v1/models", **described(ModelList))
    async def models(request: Request) -> dict[str, Any]:
        offered = gateway.offered(person_of(request)).models
        return {"object": "list", "data": [gateway.describe(model) for model in offered]}

    @app.get("/v1/models/{ident:path}", **described(Model))
    async def model(request: Request, ident: str) -> dict[str, Any]:
        return gateway.describe(gateway.model(ident, person_of(request)))

    @app.delete("/v1/models/{ident:path}", **described(None))
    async def delete_model(request: Request, ident: str) -> dict[str, Any]:
        gateway.model(ident, person_of(request))
        raise undeletable(ident)

    @app.get("/api/models", include_in_schema=False)
    async def offered(request: Request) -> dict[str, Any]:
        rows = []
        for model in gateway.offered(person_of(request)).models:
            card = await asyncio.to_thread(card_of, model.path)
            rows.append({"id": model.id, **gateway.describe(model)["metadata"], "card": card})
        return {"data": rows}

    @app.get("/api/starters", include_in_schema=False)
    async def starters() -> dict[str, Any]:
        return {"starters": list(gateway.serving.starters)}


def _add_api(app: FastAPI, gateway: Gateway, store: Store, workspace: Path) -> None:
    async def relayed(request: Request, path: str, *, may_store: bool) -> Response:
        body = parse_json(await request.body())
        if "model" not in body:
            raise ApiError(400, "model: field required", "missing_required_parameter", "model")
        person = person_of(request)
        model = gateway.model(body["model"], person)
        keep = body.pop("store", None) if may_store else None
        if keep not in (None, False, True):
            raise invalid("store", "it must be true or false")
        timed = gateway.measures.time(model)
        tap = Recorder(store.answers, model, body, store=bool(keep), timed=timed, owner=person.id)
        return await forward(request, path, body, gateway.supervisor.engine(model.id), gateway.wait(model), tap)

    @app.post("/v1/chat/completions", **described(ChatCompletion, KeepingChatBody, stream=True))
    async def chat(request: Request) -> Response:
        return await relayed(request, "/chat/completions", may_store=True)

    @app.post("/v1/completions", **described(TextCompletion, CompletionBody, stream=True))
    async def completions(request: Request) -> Response:
        return await relayed(request, "/completions", may_store=False)

    @app.post("/v1/embeddings", **described(EmbeddingList, EmbeddingBody))
    async def embeddings(request: Request) -> Response:
        body = parse_json(await request.body())
        body.pop("stream", None)
        model = gateway.model(parse_embedding(body).model, person_of(request))
        engine = gateway.supervisor.engine(model.id)
        answer = await unless_disconnected(request.receive, ask("/embeddings", body, engine, gateway.wait(model)))
        return Response(status_code=499) if answer is None else JSONResponse(json_of(answer))

    @app.post("/v1/moderations", include_in_schema=False)
    async def moderations() -> None:
        raise ApiError(404, "moderations are not offered: no guard is installed", "not_offered")

    def open_model(wanted: Any, person: Person) -> tuple[ServedModel, AskWhole, Timed]:
        model = gateway.model(wanted, person)
        engine = gateway.supervisor.engine(model.id)
        asking = lambda body: ask("/chat/completions", body, engine, gateway.wait(model))  # noqa: E731
        return model, asking, gateway.measures.time(model)

    add_stored(app, store.answers)
    add_feedback(app, store.answers)
    add_files(app, store.uploads(workspace / "files"))
    add_responses(app, store.answers, open_model)
    document_models(
        app, KeepingChatBody, CompletionBody, EmbeddingBody, ChatCompletion, TextCompletion, EmbeddingList, Model,
        ModelList, Deleted, FeedbackBody, FeedbackAnswer, MetadataBody, StoredList, StoredCompletion, CompletionPage,
        MessagePage, FileObject, FilePage, ResponseBody, ResponseObject,
    )  # fmt: skip


def _add_build(app: FastAPI, gateway: Gateway) -> None:
    @app.get("/api/build", include_in_schema=False)
    async def build() -> dict[str, Any]:
        gateway.build.refresh()
        return gateway.build.snapshot()

    @app.get("/api/build/events", include_in_schema=False)
    async def events(request: Request) -> StreamingResponse:
        seen = request.headers.get("last-event-id", "0")
        offset = int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 18 else 0
        frames = follow(gateway.build, offset, lambda: gateway.ending)
        return StreamingResponse(frames, media_type="text/event-stream", headers=STREAM_HEADERS)

    @app.get("/api/report", include_in_schema=False)
    async def report() -> FileResponse:
        file = gateway.build.workspace / "report.html"
        if not file.is_file():
            raise ApiError(404, "there is no report yet; it is written when the build ends", "not_found")
        return FileResponse(file, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})


def _add_pages(app: FastAPI, static: Path) -> None:
    @app.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        if not (static / "index.html").is_file():
            raise ApiError(503, "the pages are not built; install Chatwright again with pip", "pages_missing")
        return FileResponse(static / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/favicon.svg", include_in_schema=False)
    async def favicon() -> FileResponse:
        if not (static / "favicon.svg").is_file():
            raise ApiError(404, "there is no icon", "not_found")
        return FileResponse(static / "favicon.svg")

    app.mount("/assets", StaticFiles(directory=static / "assets", check_dir=False))
