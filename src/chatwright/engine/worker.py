"""The one thread that owns an engine, and the doorway through which asyncio handlers use it.

Handlers submit and cancel from the event loop; the thread steps and hands every new step back to the loop. The
loop never waits for the engine, so health checks are answered while everyone generates.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from chatwright.engine.protocol import ApiError
from chatwright.engine.request import Request, SamplingParams, Step
from chatwright.records import Message

State = Literal["loading", "ready", "failed", "stopped"]
T = TypeVar("T")


class TokenizerLike(Protocol):
    @property
    def vocab_size(self) -> int: ...
    @property
    def special_ids(self) -> frozenset[int]: ...
    def encode(self, text: str) -> list[int]: ...
    def token_bytes(self, token: int) -> bytes: ...


class TemplateLike(Protocol):
    stop_ids: frozenset[int]
    begin: tuple[int, ...]


class EngineLike(Protocol):
    """What the server needs of an engine; `chatwright.engine.core.Engine` in production, a script in tests."""

    @property
    def id(self) -> str: ...
    @property
    def context(self) -> int: ...
    @property
    def computes(self) -> str: ...
    @property
    def busy(self) -> bool: ...
    @property
    def waiting(self) -> int: ...
    @property
    def tokenizer(self) -> TokenizerLike: ...
    @property
    def template(self) -> TemplateLike: ...
    def embed(self, texts: Sequence[Sequence[int]]) -> Sequence[Sequence[float]]: ...
    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]: ...
    def encode_cut(self, messages: Sequence[Message], room: int) -> tuple[tuple[int, ...], int]: ...
    def add_adapter(self, name: str, folder: Path) -> None: ...
    def prepare(self, schema: str) -> None: ...
    def submit(self, request: Request) -> int: ...
    def cancel(self, handle: int) -> None: ...
    def step(self) -> list[Step]: ...


class Watcher(Protocol):
    """Hears what becomes of every request, on the event loop; `now` is monotonic."""

    def started(self, generation: Generation, now: float) -> None: ...
    def stepped(self, generation: Generation, step: Step, now: float) -> None: ...
    def aborted(self, generation: Generation, now: float) -> None: ...


class Generation:
    """One running request: await its steps with `next`; `close` takes it out of the engine unless it is finished.

    `submitted` and `last` (when its newest token came) are monotonic seconds.
    """

    def __init__(self, worker: EngineWorker, handle: int, prompt_tokens: int) -> None:
        self._worker, self._handle, self.prompt_tokens = worker, handle, prompt_tokens
        self._steps: asyncio.Queue[Step | ApiError] = asyncio.Queue()
        self.finished = False
        self.submitted = time.monotonic()
        self.last: float | None = None

    async def next(self, patience: float) -> Step | None:
        """The next step; None where none came within `patience` seconds. Raises what ended the engine."""
        if self._steps.empty():
            try:
                async with asyncio.timeout(patience):
                    step = await self._steps.get()
            except TimeoutError:
                return None
        else:
            step = self._steps.get_nowait()
        if isinstance(step, ApiError):
            raise step
        return step

    def put(self, step: Step | ApiError) -> None:
        self.finished = isinstance(step, ApiError) or step.finish_reason is not None
        self._steps.put_nowait(step)

    def close(self) -> None:
        self._worker.forget(self._handle)


class EngineWorker:
    """Loads an engine in its own thread, warms it up, then steps it while there is work.

    `limit` bounds the requests that run or wait; one more is refused with 429. `on_end` is called from the
    thread when it ends by itself, with the error, so that the process can leave and be restarted.
    """

    def __init__(
        self, load: Callable[[], EngineLike], *, limit: int, on_end: Callable[[Exception], None],
        watcher: Watcher | None = None,
    ) -> None:  # fmt: skip
        self._load, self._limit, self._on_end, self._watcher = load, limit, on_end, watcher
        self._unread: deque[Generation] = deque()
        self._jobs: deque[Callable[[EngineLike], None]] = deque()
        self._engine: EngineLike | None = None
        self._running: dict[int, Generation] = {}
        self._wake = threading.Condition()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.state: State = "loading"

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join(timeout=5)

    @property
    def engine(self) -> EngineLike:
        if self._engine is None or self.state != "ready":
            raise ApiError(503, "the model is still loading", "model_not_ready", headers={"Retry-After": "1"})
        return self._engine

    @property
    def load(self) -> int:
        """Requests that run or wait."""
        return len(self._running)

    def submit(self, request: Request) -> Generation:
        """Call from the event loop. Raises ApiError(429) when as many requests wait as may."""
        engine = self.engine
        if len(self._running) >= self._limit:
            raise ApiError(
                429, "too many requests are waiting; try again in a moment", "queue_full",
                headers={"Retry-After": "1"},
            )  # fmt: skip
        handle = engine.submit(request)
        generation = self._running[handle] = Generation(self, handle, len(request.tokens))
        self._unread.append(generation)
        self._notify()
        return generation

    async def run(self, work: Callable[[EngineLike], T]) -> T:
        """The result of `work`, which runs in the engine's thread between two steps."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        assert self.engine is not None

        def settle(value: T | None, error: Exception | None) -> None:
            if result.done():
                return
            if error is not None:
                result.set_exception(error)
            else:
                result.set_result(value)  # type: ignore[arg-type]  # None only where T allows it

        def job(engine: EngineLike) -> None:
            try:
                value, error = work(engine), None
            except Exception as raised:
                value, error = None, raised
            self._call(settle, value, error)

        self._jobs.append(job)
        self._notify()
        return await result

    def forget(self, handle: int) -> None:
        """Takes a request out of the engine unless it has come to its end; once more is harmless."""
        generation = self._running.pop(handle, None)
        if generation is None or generation.finished or self._engine is None:
            return
        self._engine.cancel(handle)
        if generation in self._unread:
            self._unread.remove(generation)
        if self._watcher is not None:
            self._watcher.aborted(generation, time.monotonic())
        self._notify()

    def _notify(self) -> None:
        with self._wake:
            self._wake.notify()

    def _run(self) -> None:
        try:
            engine = self._load()
            warm_up(engine)
            self._engine, self.state = engine, "ready"
            while self._wait_for_work(engine):
                while self._jobs:
                    self._jobs.popleft()(engine)
                steps = engine.step() if engine.busy else []
                if steps or self._unread:
                    self._call(self._deliver, steps, engine.waiting)
            self.state = "stopped"
        except Exception as error:  # the thread's last act: whatever ended it is told to everyone who waits
            self.state = "failed"
            self._call(self._fail)
            self._on_end(error)

    def _wait_for_work(self, engine: EngineLike) -> bool:
        with self._wake:
            while not self._stopping and not engine.busy and not self._jobs:
                self._wake.wait()
            return not self._stopping

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    def _deliver(self, steps: list[Step], waiting: int) -> None:
        """Requests are read in the order they came, so all but the last `waiting` have been begun."""
        now = time.monotonic()
        while len(self._unread) > waiting:
            generation = self._unread.popleft()
            if self._watcher is not None:
                self._watcher.started(generation, now)
        for step in steps:
            if (generation := self._running.get(step.handle)) is not None:
                generation.put(step)
                if self._watcher is not None:
                    self._watcher.stepped(generation, step, now)
                generation.last = now

    def _fail(self) -> None:
        for generation in self._running.values():
            generation.put(ApiError(500, "the engine stopped in the middle of the answer", "engine_lost"))


def warm_up(engine: EngineLike) -> None:
    """Answers a two-token request, so that the first person does not pay for lazy initialisation."""
    engine.submit(Request(engine.encode([Message("user", "Hello")]), SamplingParams(max_tokens=2, seed=0)))
    while engine.busy:
        engine.step()
