"""What an engine server tells Prometheus. Names and meanings follow vLLM's, without colons.

Counters count hits, never rates; times are differences of one process's monotonic clock.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from chatwright.engine.request import Step
from chatwright.engine.worker import Generation

SECONDS = (
    .001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
)  # fmt: skip
LABELS = ("model", "model_version")


class EngineMetrics:
    """Counts of one engine; hears of every step through `stepped`, `started` and `aborted`."""

    def __init__(self, model: str) -> None:
        self.registry = CollectorRegistry()
        self._model, self._version = model, ""
        self.running = self._gauge("requests_running", "Requests that are being answered.")
        self.waiting = self._gauge("requests_waiting", "Requests that have not been read yet.")
        self._finished = self._counter("requests_finished", "Requests by how they ended.", (*LABELS, "reason"))
        self._prompt = self._counter("prompt_tokens", "Prompt tokens of requests that were begun.")
        self._cached = self._counter("cached_prompt_tokens", "Prompt tokens that were not computed again.")
        self._generated = self._counter("generated_tokens", "Tokens written.")
        self._first = self._seconds("time_to_first_token", "From submission to the first token.")
        self._between = self._seconds("time_between_tokens", "From one token to the next.")
        self._queue = self._seconds("request_queue", "From submission until a request is read.")
        self._whole = self._seconds("request", "From submission to the end of an answer.")

    def _gauge(self, name: str, about: str) -> Gauge:
        return Gauge(f"chatwright_{name}", about, LABELS, registry=self.registry)

    def _counter(self, name: str, about: str, labels: tuple[str, ...] = LABELS) -> Counter:
        return Counter(f"chatwright_{name}", about, labels, registry=self.registry)

    def _seconds(self, name: str, about: str) -> Histogram:
        return Histogram(f"chatwright_{name}_seconds", about, LABELS, registry=self.registry, buckets=SECONDS)

    def version(self, version: str) -> None:
        """The model version that the labels name from now on."""
        self._version = version

    @property
    def _labels(self) -> tuple[str, str]:
        return self._model, self._version

    def started(self, generation: Generation, now: float) -> None:
        self._queue.labels(*self._labels).observe(now - generation.submitted)

    def stepped(self, generation: Generation, step: Step, now: float) -> None:
        if step.finish_reason != "cancelled":
            self._generated.labels(*self._labels).inc()
            if generation.last is None:
                self._first.labels(*self._labels).observe(now - generation.submitted)
                self._prompt.labels(*self._labels).inc(generation.prompt_tokens)
                self._cached.labels(*self._labels).inc(step.cached)
            else:
                self._between.labels(*self._labels).observe(now - generation.last)
        if step.finish_reason is not None:
            self._end(generation, step.finish_reason, now)

    def aborted(self, generation: Generation, now: float) -> None:
        self._end(generation, "abort", now)

    def _end(self, generation: Generation, reason: str, now: float) -> None:
        self._finished.labels(*self._labels, reason).inc()
        self._whole.labels(*self._labels).observe(now - generation.submitted)

    def text(self, load: int, waiting: int) -> bytes:
        """The exposition format, with `load` requests running or waiting now."""
        self.running.labels(*self._labels).set(load - waiting)
        self.waiting.labels(*self._labels).set(waiting)
        return generate_latest(self.registry)
