"""A measurement for people: a table and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chatwright.bench.timing import PERCENTILES, Timing

ROWS = {
    "first_token_ms": "time to first token",
    "between_chunks_ms": "between chunks of text",
    "per_token_ms": "per token after the first",
    "whole_answer_ms": "whole answer",
}


def lines(figures: dict[str, Any]) -> list[str]:
    """The sentences under the table."""
    requests, tokens, through = figures["requests"], figures["tokens"], figures["throughput"]
    said = [
        f"{requests['completed']} of {requests['sent']} requests answered in {figures['seconds']:.1f} s, "
        f"{requests['failed']} failed, {requests['unfinished']} unfinished",
        f"{_number(through['requests_per_second'])} requests/s, {_number(through['output_tokens_per_second'])} output "
        f"tokens/s, {_number(tokens['per_chunk'])} tokens a chunk",
    ]
    if good := figures["goodput"]:
        named = {"first_token_ms": "first token", "between_ms": "95 of 100 gaps"}
        bounds = [f"{what} <= {good[key]:g} ms" for key, what in named.items() if good[key] is not None]
        said.append(f"goodput {_number(good['requests_per_second'])} requests/s ({good['good']} answers with "
                    f"{' and '.join(bounds)})")  # fmt: skip
    if tokens["output"] is None and requests["completed"]:
        said.append("the server sent no usage, so tokens were not counted")
    said += [f"{count} x {error}" for error, count in figures["errors"].items()]
    return said


def table(figures: dict[str, Any]) -> Any:
    """Percentiles in milliseconds, as a rich table."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False)
    for head in ("milliseconds", *(f"p{p}" for p in PERCENTILES), "mean", "max"):
        made.add_column(head, justify="left" if head == "milliseconds" else "right")
    for key, name in ROWS.items():
        row = figures[key]
        made.add_row(name, *(_number(row[head]) for head in (*(f"p{p}" for p in PERCENTILES), "mean", "max")))
    return made


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def plot(timings: Sequence[Timing], title: str, path: Path) -> None:
    """Distributions of the first token and the gaps, and the requests over time, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    done = [t for t in timings if not t.error]
    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    (left, right), (below, last) = figure.subplots(2, 2)
    _curve(left, [t.first_token for t in done if t.first_token is not None], "time to first token (ms)")
    _curve(right, [gap for t in done for gap in t.gaps], "between chunks of text (ms)")
    start = min((t.due for t in timings), default=0.0)
    first = [(t.due - start, t.first_token * 1000) for t in done if t.first_token is not None]
    below.scatter([x for x, _ in first], [y for _, y in first], s=6)
    for timing in timings:
        if timing.error:
            below.axvline(timing.due - start, color="tab:red", alpha=0.3, lw=0.8)
    below.set(xlabel="sent after (s); red: not answered", ylabel="time to first token (ms)")
    last.step(*_in_flight(timings, start), where="post")
    last.set(xlabel="after (s)", ylabel="requests in flight")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _curve(axes: Any, seconds: Sequence[float], name: str) -> None:
    """Share of values up to each value."""
    values = sorted(s * 1000 for s in seconds)
    axes.step(values, [(n + 1) / len(values) for n in range(len(values))], where="post")
    axes.set(xlabel=name, ylabel="share", ylim=(0, 1.02))
    for percent in PERCENTILES:
        axes.axhline(percent / 100, color="gray", lw=0.4)


def _in_flight(timings: Sequence[Timing], start: float) -> tuple[list[float], list[int]]:
    """How many requests were out after each start and end."""
    changes = sorted([(t.due - start, 1) for t in timings] + [(t.ended - start, -1) for t in timings])
    times, counts, now = [0.0], [0], 0
    for moment, change in changes:
        now += change
        times.append(moment)
        counts.append(now)
    return times, counts
