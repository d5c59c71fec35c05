"""What the gateway tells Prometheus: its own counts, and those of the engines behind it, which only it can reach."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatwright.engine.metrics import SECONDS
from chatwright.product.serving import ServedModel

LABELS = ("model", "model_version")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Timed:
    """One request of a model, from its arrival."""

    def __init__(self, measures: Measures, model: ServedModel) -> None:
        self._measures, self._labels = measures, (model.name, model.id)
        self._begun, self._heard = time.monotonic(), False

    def first(self) -> None:
        if not self._heard:
            self._heard = True
            self._measures.first.labels(*self._labels).observe(time.monotonic() - self._begun)

    def done(self) -> None:
        self._measures.whole.labels(*self._labels).observe(time.monotonic() - self._begun)


class Measures:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "chatwright_gateway_requests", "Requests by route and status.", ("method", "route", "status"),
            registry=self.registry,
        )  # fmt: skip
        self.first = self._seconds("first_byte", "From a request's arrival to the first byte of its answer.")
        self.whole = self._seconds("answer", "From a request's arrival to the end of its answer.")

    def _seconds(self, name: str, about: str) -> Histogram:
        return Histogram(f"chatwright_gateway_{name}_seconds", about, LABELS, registry=self.registry, buckets=SECONDS)

    def time(self, model: ServedModel) -> Timed:
        return Timed(self, model)

    def text(self, engines: Sequence[str]) -> bytes:
        """The exposition format of the gateway and of the engines, whose own texts are `engines`."""
        merged = CollectorRegistry()
        merged.register(_Merged(engines))
        return generate_latest(self.registry) + generate_latest(merged)


class _Merged(Collector):
    """Samples of several processes under one heading each; their labels tell them apart."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for text in self._texts:
            for family in text_string_to_metric_families(text):
                kept = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                kept.samples += family.samples
        return families.values()


class Counted:
    """Counts every answer by method, route and status. A route is a template, so that no id becomes a label."""

    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        self.app, self._measures = app, measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def heard(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                method = scope["method"] if scope["method"] in METHODS else "other"
                self._measures.requests.labels(method, route, message["status"]).inc()
            await send(message)

        await self.app(scope, receive, heard)
