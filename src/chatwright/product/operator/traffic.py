"""Live traffic: what the engines did in the last minutes, from their own counters, looked at every few seconds."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chatwright.product.measures import Measures

EVERY_SECONDS = 5.0
KEPT_SECONDS = 305.0
"""Five minutes, and one look before."""
SAMPLE = re.compile(r"^chatwright_(\w+?)(?:_total)?\{([^}]*)\} ([0-9.eE+-]+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
COUNTED = ("generated_tokens", "prompt_tokens", "requests_finished")
GAUGED = ("requests_running", "requests_waiting")

Key = tuple[str, str, str, str]
"""Model, version, what is counted, and of finished requests the reason."""


@dataclass(frozen=True, slots=True)
class Look:
    """Counters and gauges of one moment (seconds of a monotonic clock); `answers`: by route and status."""

    at: float
    values: Mapping[Key, float]
    answers: Mapping[tuple[str, int], float]


def read(texts: Iterable[str], versions: Mapping[str, str]) -> dict[Key, float]:
    """The samples in engines' metrics that are shown here. `versions`: what is served under each name; an engine's own
    word for its version counts where a model is not served any more."""
    found: dict[Key, float] = {}
    for text in texts:
        for line in text.splitlines():
            if (match := SAMPLE.match(line)) and match[1] in COUNTED + GAUGED:
                labels = dict(LABEL.findall(match[2]))
                model = labels.get("model", "")
                version = versions.get(model, labels.get("model_version", ""))
                key = (model, version, match[1], labels.get("reason", ""))
                found[key] = float(match[3])
    return found


def risen(before: float, now: float) -> float:
    """How far a counter rose; one that fell began again with its process."""
    return now - before if now >= before else now


def report(looks: Sequence[Look], seconds: float) -> dict[str, Any]:
    """The newest look against the one `seconds` before it, or the oldest there is."""
    last = looks[-1]
    first = next((one for one in looks if one.at >= last.at - seconds), last)
    span = last.at - first.at
    models: dict[tuple[str, str], dict[str, Any]] = {}
    for (model, version, name, reason), value in sorted(last.values.items()):
        row = models.setdefault((model, version), {
            "model": model, "version": version, "requests": 0, "ended": {}, "tokens": 0, "prompt_tokens": 0,
            "tokens_per_second": 0.0, "streams": 0, "waiting": 0, "errors": 0,
        })  # fmt: skip
        if name in GAUGED:
            row["streams" if name == "requests_running" else "waiting"] = int(value)
            continue
        rise = int(risen(first.values.get((model, version, name, reason), 0.0), value))
        if name == "requests_finished":
            row["requests"] += rise
            row["ended"] |= {reason: rise} if rise else {}
        elif name == "generated_tokens":
            row["tokens"] = rise
            row["tokens_per_second"] = round(rise / span, 2) if span else 0.0
        else:
            row["prompt_tokens"] = rise
    refused = [
        {"route": route, "status": status, "count": int(rise)}
        for (route, status), value in sorted(last.answers.items())
        if (rise := risen(first.answers.get((route, status), 0.0), value)) and (status >= 500 or status == 429)
    ]
    return {"seconds": round(span, 1), "models": list(models.values()), "refused": refused}


class Traffic:
    def __init__(
        self, texts: Callable[[], Awaitable[list[str]]], versions: Callable[[], Mapping[str, str]], measures: Measures,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._texts, self._versions, self._measures, self._clock = texts, versions, measures, clock
        self._looks: deque[Look] = deque()

    async def watch(self) -> None:
        """Looks every few seconds until it is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY_SECONDS)

    async def look(self) -> None:
        values, now = read(await self._texts(), self._versions()), self._clock()
        self._looks.append(Look(now, values, self._answers()))
        while self._looks[0].at < now - KEPT_SECONDS:
            self._looks.popleft()

    async def now(self, seconds: float) -> dict[str, Any]:
        await self.look()
        return report(self._looks, seconds)

    def _answers(self) -> dict[tuple[str, int], float]:
        found: dict[tuple[str, int], float] = {}
        for family in self._measures.requests.collect():
            for sample in family.samples:
                if sample.name.endswith("_total"):
                    key = (sample.labels["route"], int(sample.labels["status"]))
                    found[key] = found.get(key, 0.0) + sample.value
        return found
