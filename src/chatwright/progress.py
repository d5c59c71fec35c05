"""One event stream for long work: bars in the terminal, `events.jsonl` on disk, the live page.

A stage tells what it does (`advance`, `metrics`, `sample`, `note`, `warn`); where it shows is decided here. Events are
appended as JSON lines, one write each, so a page can follow the file while the job runs and a resumed job goes on
in the same file. Every event holds `t` (Unix seconds), `stage` and `event`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chatwright.files import finite, full_disk

EVENTS_FILE = "events.jsonl"


class Stage:
    """The progress of one stage; made by `Progress.stage`."""

    def __init__(self, progress: Progress, name: str, total: int) -> None:
        self.name, self.total, self.done = name, total, 0
        self._progress = progress
        self._last_emit = 0.0
        self._bar = progress._add_bar(name, total)

    def advance(self, done: int, **figures: float) -> None:
        """`done` of `total` units are finished; `figures` are the newest measurements (loss, tokens/s, ...).

        At most about five events a second reach the file; the first and the last always do.
        """
        self.done = done
        self._progress._move_bar(self._bar, done, figures)
        now = time.monotonic()
        if done >= self.total or now - self._last_emit >= 0.2:
            self._last_emit = now
            self._progress.emit(self.name, "step", done=done, total=self.total, **figures)

    def metrics(self, **figures: Any) -> None:
        """Figures that matter beyond the moment, such as a held-out loss."""
        self._progress.emit(self.name, "metrics", done=self.done, **figures)

    def sample(self, prompt: str, response: str, **more: Any) -> None:
        """What the model says now to a fixed prompt, for people to read."""
        self._progress.emit(self.name, "sample", done=self.done, prompt=prompt, response=response, **more)

    def note(self, text: str) -> None:
        self._progress.emit(self.name, "note", text=text)
        self._progress._print(f"  {text}")

    def warn(self, text: str) -> None:
        """Something a person should know though the work goes on."""
        self._progress.emit(self.name, "warn", text=text)
        self._progress._print(f"  ! {text}")


class Progress:
    """Where events go. `Progress()` alone is silent: for tests and for library use."""

    def __init__(self, folder: Path | None = None, *, terminal: bool = False) -> None:
        self._file = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / EVENTS_FILE).open("ab", buffering=0)
        self._bars = _terminal_bars() if terminal else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()
        if self._file is not None:
            self._file.close()

    @contextmanager
    def stage(self, name: str, total: int, **about: Any) -> Iterator[Stage]:
        """Announces a stage; its end, or its interruption, is announced too."""
        started = time.monotonic()
        self.emit(name, "start", total=total, **about)
        stage = Stage(self, name, total)
        try:
            yield stage
        except BaseException as error:
            self.emit(name, "interrupted", done=stage.done, reason=type(error).__name__)
            raise
        self._move_bar(stage._bar, total, {})
        self.emit(name, "end", done=stage.done, seconds=round(time.monotonic() - started, 2))

    def emit(self, stage: str, event: str, **fields: Any) -> None:
        if self._file is not None:
            row = {"t": round(time.time(), 3), "stage": stage, "event": event, **finite(fields)}
            with full_disk(Path(self._file.name)):
                self._file.write(json.dumps(row, ensure_ascii=False, default=float).encode() + b"\n")

    def _add_bar(self, name: str, total: int) -> Any:
        if self._bars is None:
            return None
        self._bars.start()
        return self._bars.add_task(name, total=total, figures="")

    def _move_bar(self, bar: Any, done: int, figures: dict[str, float]) -> None:
        if self._bars is not None:
            shown = {"figures": "  ".join(f"{k} {v:.4g}" for k, v in figures.items())} if figures else {}
            self._bars.update(bar, completed=done, **shown)

    def _print(self, text: str) -> None:
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False)


def _terminal_bars() -> Any:
    """Bars on standard error, so that `--json` can own standard output."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    return Bars(
        TextColumn("[bold]{task.description:<18}"), BarColumn(bar_width=28), MofNCompleteColumn(),
        TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[figures]}"),
        console=Console(stderr=True), refresh_per_second=4,
    )  # fmt: skip
