"""The build as its page sees it: `events.jsonl` folded into the state of every stage, and followed line by line.

Reading goes on where it stopped, so that a page that polls costs the build next to nothing; nothing is read while
nobody looks. A resumed stage repeats steps with a lower `done`; the newest event of a stage wins.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from chatwright.progress import EVENTS_FILE

POLL_SECONDS = 0.5
PING_SECONDS = 15.0
CHUNK = 1 << 20
PLAIN_HISTORY = 2_000_000
"""Bytes of history sent whole; of a longer one, only every n-th step event is sent (curves stay, megabytes go)."""
TITLES = {
    "corpus": "Write the corpus", "curate": "Curate", "tokenizer": "Learn the tokens", "pretrain": "Pretrain",
    "sft": "Fine-tune", "rank": "Rank answers", "reward": "Reward model", "ppo": "PPO", "dpo": "DPO",
    "evaluate": "Measure", "tokens": "Cut into tokens",
}  # fmt: skip
MAKERS = {"base": "pretrain"}
"""The stage that makes a model, where it has another name than the model."""
State = Literal["waiting", "running", "done", "interrupted"]
_PLAIN = (int, float, str)


@dataclass(slots=True)
class StageView:
    """What is known of one stage."""

    name: str
    title: str
    about: str = ""
    expected: float | None = None
    state: State = "waiting"
    done: float = 0
    total: float = 0
    seconds: float = 0
    figures: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    started: float = 0
    before: float = 0
    """Seconds spent on it by runs that were interrupted."""

    def left(self, now: float, pace: float) -> float | None:
        """Seconds still to go; `pace` is measured over planned seconds of the stages that are finished."""
        if self.state == "done":
            return 0.0
        planned = None if self.expected is None else self.expected * pace
        if self.state != "running" or not self.total or self.done < 0.05 * self.total:
            spent = now - self.started if self.state == "running" else 0.0
            return None if planned is None else max(planned - spent, 0.0)
        return (now - self.started + self.before) / self.done * max(self.total - self.done, 0)


class BuildLog:
    """The folded state of one `events.jsonl`; `refresh` reads what was added since the last time."""

    def __init__(self, workspace: Path) -> None:
        self.workspace, self.file = workspace, workspace / EVENTS_FILE
        self._clear()

    def _clear(self) -> None:
        self._offset = 0
        self._stages: dict[str, StageView] = {}
        self._order: list[str] = []
        self._begun = ""
        self._state: Literal["absent", "running", "interrupted", "done"] = "absent"
        self._newest = 0.0

    def refresh(self) -> None:
        while True:
            lines, self._offset, restarted = read_lines(self.file, self._offset)
            if restarted:
                offset = self._offset
                self._clear()
                self._offset = offset
            for _, line in lines:
                self._fold(parse_event(line))
            if not lines:
                return

    def _fold(self, event: dict[str, Any] | None) -> None:
        if event is None:
            return
        self._newest = event["t"]
        name, kind = event["stage"], event["event"]
        if name == "build":
            self._fold_build(kind, event)
            return
        stage = self._stage(name)
        match kind:
            case "start":
                self._begin(stage, event)
            case "step":
                stage.done, stage.total = _number(event.get("done")), _number(event.get("total")) or stage.total
                stage.seconds = event["t"] - stage.started if stage.started else 0
                stage.figures = _figures(event)
            case "metrics":
                self._measure(stage, event)
            case "warn":
                stage.warnings = [*stage.warnings, str(event.get("text", ""))][-5:]
            case "end":
                stage.state, stage.done = "done", stage.total
                stage.seconds = stage.before + _number(event.get("seconds"))
            case "interrupted":
                stage.state = self._state = "interrupted"

    def _stage(self, name: str) -> StageView:
        """The stage of that name; one that nobody planned stands behind the one that began last."""
        if name not in self._stages:
            self._stages[name] = StageView(name, TITLES.get(name) or name.capitalize())
            after = self._order.index(self._begun) + 1 if self._begun in self._order else len(self._order)
            self._order.insert(after, name)
        return self._stages[name]

    def _begin(self, stage: StageView, event: dict[str, Any]) -> None:
        """Stages run one at a time: one that still seems to run when another begins was killed without a word."""
        if stage.state in ("running", "interrupted"):
            stage.before += stage.seconds
        else:
            stage.before, stage.figures, stage.metrics, stage.warnings = 0, {}, {}, []
        for other in self._stages.values():
            if other.state == "running" and other is not stage:
                other.state = "interrupted"
        self._state, self._begun = "running", stage.name
        stage.state, stage.started = "running", event["t"]
        stage.total, stage.done, stage.seconds = _number(event.get("total")), 0, 0

    def _measure(self, stage: StageView, event: dict[str, Any]) -> None:
        """Figures of a stage. Those of a named model, as evaluation has them, go to the stage that made it too."""
        model = event.get("model")
        if not isinstance(model, str):
            stage.metrics |= _figures(event)
            return
        maker = self._stages.get(MAKERS.get(model, model))
        if (gold := event.get("gold")) is not None:
            stage.metrics[f"{model} gold"] = gold
            if maker is not None:
                maker.metrics["gold"] = gold

    def _fold_build(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "plan":
            self._state = "running"
            planned = [str(row["name"]) for row in event.get("stages", ())]
            self._order = planned + [name for name in self._order if name not in planned]
            for row in event.get("stages", ()):
                stage = self._stages.setdefault(str(row["name"]), StageView(str(row["name"]), ""))
                stage.title = str(row.get("title") or TITLES.get(stage.name) or stage.name.capitalize())
                stage.about, stage.expected = str(row.get("about") or ""), row.get("seconds")
        elif kind == "done":
            self._state = "done"
        elif kind == "interrupted":
            self._state = "interrupted"

    def snapshot(self, now: float | None = None) -> dict[str, Any]:
        """What `/api/build` answers. `silent` is how many seconds ago the newest event was written."""
        now = time.time() if now is None else now
        stages = [self._stages[name] for name in self._order]
        finished = [stage for stage in stages if stage.state == "done" and stage.expected and stage.seconds > 0]
        planned = sum(stage.expected or 0 for stage in finished)
        pace = sum(stage.seconds for stage in finished) / planned if planned > 0 else 1.0
        left = [stage.left(now, pace) for stage in stages]
        known = [seconds for seconds in left if seconds is not None]
        return {
            "state": self._state,
            "stages": [_stage_row(stage, seconds, now) for stage, seconds in zip(stages, left, strict=True)],
            "seconds_left": round(sum(known), 1) if known and len(known) == len(left) else None,
            "silent": round(max(now - self._newest, 0), 1) if self._newest else None,
            "report": (self.workspace / "report.html").is_file(),
        }


def _stage_row(stage: StageView, left: float | None, now: float) -> dict[str, Any]:
    running = stage.state == "running"
    return {
        "name": stage.name, "title": stage.title, "about": stage.about, "state": stage.state, "done": stage.done,
        "total": stage.total, "seconds": round(now - stage.started + stage.before if running else stage.seconds, 1),
        "seconds_left": None if left is None else round(left, 1), "figures": stage.figures,
        "metrics": stage.metrics, "warnings": stage.warnings,
    }  # fmt: skip


def _figures(event: dict[str, Any]) -> dict[str, Any]:
    fixed = ("t", "stage", "event", "done", "total")
    return {key: value for key, value in event.items() if key not in fixed and isinstance(value, _PLAIN)}


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) else 0


def parse_event(line: bytes) -> dict[str, Any] | None:
    """The event in a line, or None where the line is none (a torn write of a killed run)."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(event, dict) and isinstance(event.get("t"), int | float)
    return event if whole and isinstance(event.get("stage"), str) and isinstance(event.get("event"), str) else None


def read_lines(file: Path, offset: int) -> tuple[list[tuple[int, bytes]], int, bool]:
    """Whole lines from `offset` on, at most a chunk of them: ([(offset after it, line)], new offset, restarted).

    `restarted` says that the file is shorter than `offset`: another build has begun, and reading began at 0.
    """
    try:
        with file.open("rb") as handle:
            restarted = handle.seek(0, 2) < offset
            start = 0 if restarted else offset
            handle.seek(start)
            block = handle.read(CHUNK)
            while b"\n" not in block and (more := handle.read(CHUNK)):
                block += more
    except FileNotFoundError:
        return [], 0, offset > 0
    lines: list[tuple[int, bytes]] = []
    position = start
    for line in block[: block.rfind(b"\n") + 1].splitlines(keepends=True):
        position += len(line)
        lines.append((position, line.strip()))
    return lines, position, restarted


async def follow(log: BuildLog, offset: int, ending: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Server-sent events: every line after `offset` as `build` (its id is the offset to go on from), and after
    each batch a `status` with the snapshot. `reset` tells the page to forget: another build has begun.
    Goes on until `ending` says so."""
    file, quiet, first = log.file, 0.0, True
    size = file.stat().st_size if file.exists() else 0
    every = 1 + max(size - offset, 0) // PLAIN_HISTORY
    counter = 0
    while not ending():
        lines, offset, restarted = read_lines(file, offset)
        if restarted:
            yield b"event: reset\nid: 0\ndata: {}\n\n"
        frames: list[bytes] = []
        for after, line in lines:
            counter += 1
            if after < size and every > 1 and b'"event": "step"' in line and counter % every:
                continue
            if line and parse_event(line) is not None:
                frames.append(b"event: build\nid: %d\ndata: %s\n\n" % (after, line))
        if lines or first or restarted:
            log.refresh()
            frames.append(b"event: status\ndata: %s\n\n" % json.dumps(log.snapshot()).encode())
            first, quiet = False, 0.0
        if frames:
            yield b"".join(frames)
        if not lines:
            await asyncio.sleep(POLL_SECONDS)
            quiet += POLL_SECONDS
            if quiet >= PING_SECONDS:
                quiet = 0.0
                yield b": waiting\n\n"
        else:
            await asyncio.sleep(0 if len(lines) > 100 else POLL_SECONDS)
