"""One request's times, and the statistics of many. Pure: seconds in, milliseconds out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

PERCENTILES = (50, 95, 99)
UNFINISHED = "unfinished"
"""The outcome of requests that still ran when the measurement ended: neither answers nor errors."""


@dataclass(slots=True)
class Timing:
    """What happened to one request; times in seconds on one clock.

    `due` is when it should have been sent: the wait of a request that the sender was late with counts, otherwise a
    slow server would slow its own examiner down. `chunks` are the times at which text arrived. `error` is "" for an
    answer that came to its end.
    """

    due: float
    chunks: list[float] = field(default_factory=list)
    ended: float = 0.0
    error: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    @property
    def first_token(self) -> float | None:
        """Seconds to the first text."""
        return self.chunks[0] - self.due if self.chunks else None

    @property
    def gaps(self) -> list[float]:
        """Seconds between chunks, each whole: five tokens at once after a pause are one pause, not five short ones."""
        return [later - earlier for earlier, later in pairwise(self.chunks)]

    @property
    def per_token(self) -> float | None:
        """Seconds a token after the first, with the server's own count of tokens."""
        if not self.chunks or not self.completion_tokens or self.completion_tokens < 2:
            return None
        return (self.chunks[-1] - self.chunks[0]) / (self.completion_tokens - 1)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a good answer is: seconds to its first text, and between chunks in 95 of 100 gaps. None: no bound."""

    first_token: float | None = None
    between: float | None = None

    def met(self, timing: Timing) -> bool:
        """Only answers that came to their end are good."""
        if timing.error:
            return False
        first, gaps = timing.first_token, timing.gaps
        if self.first_token is not None and (first is None or first > self.first_token):
            return False
        return self.between is None or not gaps or float(np.percentile(gaps, 95)) <= self.between


def percentiles(seconds: Sequence[float]) -> dict[str, float | None]:
    """p50, p95, p99, mean and largest in milliseconds, and how many there are; None where there are none."""
    if not len(seconds):
        return {**{f"p{p}": None for p in PERCENTILES}, "mean": None, "max": None, "n": 0}
    values = np.asarray(seconds, dtype=np.float64) * 1000
    found = dict(zip(PERCENTILES, np.percentile(values, PERCENTILES), strict=True))
    figures = {f"p{p}": float(v) for p, v in found.items()} | {"mean": values.mean(), "max": values.max()}
    return {key: round(float(value), 3) for key, value in figures.items()} | {"n": len(values)}


def summarise(timings: Sequence[Timing], bounds: Bounds | None = None) -> dict[str, Any]:
    """The figures of a measurement.

    Throughput is over the time from the first request's due time to the last end. Tokens are those of the servers'
    `usage`; where an answer came without one, token figures are None rather than guessed.
    """
    done = [t for t in timings if not t.error]
    cut = [t for t in timings if t.error == UNFINISHED]
    failed = Counter(t.error for t in timings if t.error and t.error != UNFINISHED)
    start, end = min((t.due for t in timings), default=0.0), max((t.ended for t in timings), default=0.0)
    seconds = end - start
    good = sum(bounds.met(t) for t in done) if bounds else None
    output, prompt = _total(done, "completion_tokens"), _total(done, "prompt_tokens")
    texts = sum(len(t.chunks) for t in done)
    return {
        "seconds": round(seconds, 3),
        "requests": {"sent": len(timings), "completed": len(done), "failed": failed.total(), UNFINISHED: len(cut)},
        "errors": dict(failed.most_common()),
        "first_token_ms": percentiles([t.first_token for t in done if t.first_token is not None]),
        "between_chunks_ms": percentiles([gap for t in done for gap in t.gaps]),
        "per_token_ms": percentiles([t.per_token for t in done if t.per_token is not None]),
        "whole_answer_ms": percentiles([t.ended - t.due for t in done]),
        "tokens": {"prompt": prompt, "output": output, "per_chunk": _ratio(output, texts)},
        "throughput": {
            "requests_per_second": _ratio(len(done), seconds),
            "output_tokens_per_second": _ratio(output, seconds),
            "all_tokens_per_second": _ratio(None if output is None or prompt is None else output + prompt, seconds),
        },
        "goodput": None if bounds is None else {
            "first_token_ms": _milliseconds(bounds.first_token),
            "between_ms": _milliseconds(bounds.between),
            "good": good,
            "share": _ratio(good, len(timings) - len(cut)),
            "requests_per_second": _ratio(good, seconds),
        },
    }  # fmt: skip


def _total(timings: Sequence[Timing], name: str) -> int | None:
    counts = [getattr(t, name) for t in timings]
    return sum(counts) if counts and None not in counts else None


def _ratio(count: float | None, over: float) -> float | None:
    return round(count / over, 4) if count is not None and over > 0 else None


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
