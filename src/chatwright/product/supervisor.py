"""Engine processes: one per model version, started one after another, watched, restarted when they end.

Each listens on a Unix socket in a private folder, so that only this user, and through the gateway nobody else,
reaches it. The supervisor holds the other end of its standard input; when the gateway dies, the engines end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

from chatwright.config import ServeConfig
from chatwright.engine.protocol import ApiError
from chatwright.product.serving import ServedModel
from chatwright.product.upstream import Client, UpstreamError

ENGINE_COMMAND = (sys.executable, "-m", "chatwright.engine.server")
READY_POLL_SECONDS = 0.1
BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 15.0, 30.0)
STEADY_SECONDS = 60.0
"""An engine that ran this long is restarted at once and its earlier crashes are forgotten."""
STOP_SECONDS = 10.0
EngineState = Literal["waiting", "starting", "ready", "restarting", "stopped"]
log = logging.getLogger(__name__)


async def until_ready(engine: Served, ready: asyncio.Event, seconds: float, ending: Callable[[], bool]) -> None:
    """Raises ApiError(503) where `ready` is not set within `seconds`, or the gateway is `ending` before."""
    limit = time.monotonic() + seconds
    while not ready.is_set() and time.monotonic() < limit and not ending():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_POLL_SECONDS):
                await ready.wait()
    if not ready.is_set():
        why = f": {engine.reason}" if engine.reason else ""
        raise ApiError(
            503, f"the model {engine.model.name} is not ready{why}; try again in a moment", "model_not_ready",
            headers={"Retry-After": "2"},
        )  # fmt: skip


class Served(Protocol):
    """What answers for one model, and is watched: a process of ours, or an upstream by URL."""

    model: ServedModel

    @property
    def client(self) -> Client: ...
    @property
    def state(self) -> EngineState: ...
    @property
    def reason(self) -> str: ...
    @property
    def asked_as(self) -> str: ...
    def start(self) -> None: ...
    def doubt(self) -> None: ...
    async def settled(self) -> None: ...
    async def wait_ready(self, seconds: float, ending: Callable[[], bool]) -> None: ...
    async def metrics(self) -> str: ...
    async def stop(self) -> None: ...


class EngineProcess:
    """One engine: its process, its state and a client that speaks to it."""

    def __init__(self, model: ServedModel, settings: ServeConfig, socket: Path, command: Sequence[str]) -> None:
        self.model, self._socket, self.asked_as = model, socket, model.name
        self._command = (
            *command, "--model", str(model.path), "--name", model.name, "--socket", str(socket), "--stdin-watch",
            "--max-batch", str(settings.max_batch), "--max-queue", str(settings.max_queue),
            "--weights", settings.weights, "--threads", str(settings.threads),
            "--lookup", str(settings.lookup),
            "--sampling", settings.sampling.model_dump_json(),
            *(part for name, path in model.adapters for part in ("--adapter", f"{name}={path}")),
        )  # fmt: skip
        self.state: EngineState = "waiting"
        self.reason = ""
        self.restarts = 0
        self.pid: int | None = None
        self._ready, self._doubted = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.client = Client("http://localhost/v1", socket=socket)

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_running())

    async def settled(self) -> None:
        """Returns when the first start has come to an end, good or bad."""
        while self.state in ("waiting", "starting"):
            await asyncio.sleep(READY_POLL_SECONDS)

    async def wait_ready(self, seconds: float, ending: Callable[[], bool]) -> None:
        await until_ready(self, self._ready, seconds, ending)

    async def metrics(self) -> str:
        """What the engine tells Prometheus; nothing where it is not there."""
        try:
            answer = await self.client.get("http://localhost/metrics", timeout=2)
        except UpstreamError:
            return ""
        return answer.content.decode() if answer.status_code == 200 else ""

    def doubt(self) -> None:
        """A request was not taken: nobody is sent here until the engine has said again that it is ready."""
        self.state = "restarting"
        self._ready.clear()
        self._doubted.set()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.client.aclose()
        self.state = "stopped"

    async def _keep_running(self) -> None:
        while True:
            started = time.monotonic()
            try:
                await self._run_once()
            except OSError as error:
                self.reason = f"it cannot be started ({error.strerror})"
            self._ready.clear()
            self.restarts = 0 if time.monotonic() - started > STEADY_SECONDS else self.restarts + 1
            self.state = "restarting"
            log.warning("engine %s ended (%s); restarting", self.model.name, self.reason)
            await asyncio.sleep(BACKOFF_SECONDS[min(self.restarts, len(BACKOFF_SECONDS)) - 1])

    async def _run_once(self) -> None:
        self._socket.unlink(missing_ok=True)
        self.state = "starting"
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self.pid = process.pid
        complaints = asyncio.create_task(_last_line(process))
        watcher = asyncio.create_task(self._watch_ready())
        try:
            code = await process.wait()
            said = await complaints
            self.reason = _killed_by(-code) if code < 0 else said or f"it ended with code {code}"
        finally:
            watcher.cancel()
            complaints.cancel()
            self.pid = None
            await _end(process)

    async def _watch_ready(self) -> None:
        """Asks until the engine is ready, and again whenever a request has found it otherwise."""
        while True:
            with contextlib.suppress(UpstreamError):
                if (await self.client.get("http://localhost/healthz", timeout=5)).status_code == 200:
                    self.state, self.reason = "ready", ""
                    self._doubted.clear()
                    self._ready.set()
                    await self._doubted.wait()
            await asyncio.sleep(READY_POLL_SECONDS)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Asks the process to finish its answers and leave; ends it where it does not."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _killed_by(number: int) -> str:
    """A process that is killed says nothing: the last line it wrote is about something else."""
    return f"it was ended by signal {number}: {signal.strsignal(number) or 'unknown'}"


def _same(served: ServedModel, wanted: ServedModel | None) -> bool:
    """Whether an engine can go on: one that has other adapters, or adapts another model, is another one."""
    return wanted is not None and (served.adapters, served.adapter_of) == (wanted.adapters, wanted.adapter_of)


async def _last_line(process: asyncio.subprocess.Process) -> str:
    """Passes the engine's complaints on to our own standard error and keeps the last, which says why it ended."""
    last = ""
    assert process.stderr is not None
    while line := await process.stderr.readline():
        text = line.decode("utf-8", "replace").rstrip()
        if text:
            last = text
            print(text, file=sys.stderr, flush=True)
    return last


class Supervisor:
    """The engines of everything that is served; `serve` replaces the set without touching those that stay."""

    def __init__(self, settings: ServeConfig, command: Sequence[str] = ENGINE_COMMAND) -> None:
        self._settings, self._command = settings, command
        self._folder = Path(tempfile.mkdtemp(prefix="chatwright-"))
        self._engines: dict[str, Served] = {}
        self._starter: asyncio.Task[None] | None = None
        self._count = 0

    def engine(self, ident: str) -> Served:
        return self._engines[ident]

    async def serve(self, models: Sequence[ServedModel]) -> None:
        wanted = {model.id: model for model in models}
        stay = {ident for ident, engine in self._engines.items() if _same(engine.model, wanted.get(ident))}
        stay -= {ident for ident in stay if (of := wanted[ident].adapter_of) and of not in stay}
        gone = [self._engines.pop(ident) for ident in list(self._engines) if ident not in stay]
        for model in sorted(models, key=lambda model: (bool(model.adapter_of), not model.default)):
            if model.id not in self._engines:
                self._engines[model.id] = self._made(model)
        if self._starter is not None:
            self._starter.cancel()
        self._starter = asyncio.create_task(self._start_in_turn())
        await asyncio.gather(*(engine.stop() for engine in gone))

    def _made(self, model: ServedModel) -> Served:
        if model.url:
            from chatwright.product.remote import RemoteEngine

            return RemoteEngine(model)
        if model.adapter_of:
            from chatwright.product.adapters import AdaptedEngine

            return AdaptedEngine(model, self._engines[model.adapter_of])
        self._count += 1
        return EngineProcess(model, self._settings, self._folder / f"{self._count}.sock", self._command)

    async def _start_in_turn(self) -> None:
        """The default first and one at a time, so that the first chat does not wait for all of them."""
        for engine in list(self._engines.values()):
            if engine.state == "waiting":
                engine.start()
            await engine.settled()

    async def stop(self) -> None:
        if self._starter is not None:
            self._starter.cancel()
        await asyncio.gather(*(engine.stop() for engine in self._engines.values()))
        shutil.rmtree(self._folder, ignore_errors=True)
