"""The build's events: folded into a snapshot, followed over HTTP, resumed after a break."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.product.running import Running

from chatwright.product.build import BuildLog, read_lines
from chatwright.progress import EVENTS_FILE, Progress


class Events:
    """A reader of server-sent events, one at a time."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines

    def next(self) -> dict[str, Any]:
        event: dict[str, Any] = {}
        for line in self._lines:
            if not line and event:
                return event
            name, _, value = line.partition(": ")
            if name in ("event", "id"):
                event[name] = value
            elif name == "data":
                event["data"] = json.loads(value)
        raise AssertionError("the stream ended")

    def of(self, kind: str) -> dict[str, Any]:
        while (event := self.next())["event"] != kind:
            pass
        return event


def append(file: Path, *rows: dict[str, Any]) -> None:
    with file.open("a") as handle:
        handle.writelines(json.dumps({"t": 1000.0} | row) + "\n" for row in rows)


def plan(*names: str, seconds: float = 10) -> dict[str, Any]:
    stages = [{"name": name, "title": name.upper(), "about": "", "seconds": seconds} for name in names]
    return {"stage": "build", "event": "plan", "stages": stages}


def stage_of(log: BuildLog, name: str, now: float = 1000) -> dict[str, Any]:
    log.refresh()
    return next(stage for stage in log.snapshot(now)["stages"] if stage["name"] == name)


def test_no_file_is_no_build(tmp_path: Path) -> None:
    log = BuildLog(tmp_path)
    log.refresh()
    assert log.snapshot() == {"state": "absent", "stages": [], "seconds_left": None, "silent": None, "report": False}


def test_what_progress_writes_is_what_the_page_reads(tmp_path: Path) -> None:
    with Progress(tmp_path) as progress, progress.stage("sft", total=4) as stage:
        stage.advance(4, loss=0.5)
        stage.metrics(gold=0.7)
        stage.warn("short of memory")
    log = BuildLog(tmp_path)
    row = stage_of(log, "sft")
    assert (row["state"], row["done"], row["total"], row["title"]) == ("done", 4, 4, "Fine-tune")
    assert (row["figures"], row["metrics"], row["warnings"]) == ({"loss": 0.5}, {"gold": 0.7}, ["short of memory"])


def test_time_left_follows_the_measured_pace(tmp_path: Path) -> None:
    file = tmp_path / EVENTS_FILE
    append(
        file, plan("a", "b", "c"), {"stage": "a", "event": "start", "total": 4},
        {"stage": "a", "event": "end", "seconds": 20, "t": 1020},
        {"stage": "b", "event": "start", "total": 10, "t": 1020},
    )  # fmt: skip
    log = BuildLog(tmp_path)
    log.refresh()
    assert log.snapshot(1020)["seconds_left"] == 40, "twice as slow as planned: b and c take 20 s each"
    append(file, {"stage": "b", "event": "step", "done": 5, "total": 10, "t": 1030})
    log.refresh()
    assert log.snapshot(1030)["seconds_left"] == 30, "half of b took 10 s, so 10 s are left of it, and c takes 20 s"


def test_an_interrupted_stage_goes_on_in_the_same_file(tmp_path: Path) -> None:
    file = tmp_path / EVENTS_FILE
    append(
        file, plan("a"), {"stage": "a", "event": "start", "total": 10},
        {"stage": "a", "event": "step", "done": 6, "total": 10, "t": 1006},
        {"stage": "a", "event": "interrupted", "done": 6, "t": 1006},
    )  # fmt: skip
    log = BuildLog(tmp_path)
    assert stage_of(log, "a", 1006)["state"] == "interrupted"
    assert log.snapshot(1006)["state"] == "interrupted"
    append(
        file, {"stage": "a", "event": "start", "total": 10, "t": 2000},
        {"stage": "a", "event": "step", "done": 4, "total": 10, "t": 2002},
    )  # fmt: skip
    row = stage_of(log, "a", 2002)
    assert (row["state"], row["done"], row["seconds"]) == ("running", 4, 8)


def test_a_stage_killed_without_a_word_is_interrupted_when_another_begins(tmp_path: Path) -> None:
    file = tmp_path / EVENTS_FILE
    append(
        file, plan("a", "b"), {"stage": "a", "event": "start", "total": 1},
        {"stage": "a", "event": "end", "seconds": 5}, {"stage": "b", "event": "start", "total": 10},
        {"stage": "b", "event": "step", "done": 3, "t": 1004},
        {"stage": "a", "event": "start", "total": 1, "t": 2000},
    )  # fmt: skip
    log = BuildLog(tmp_path)
    assert (stage_of(log, "a")["state"], stage_of(log, "b")["state"]) == ("running", "interrupted")
    append(file, {"stage": "b", "event": "start", "total": 10, "t": 3000})
    assert stage_of(log, "b", 3001)["seconds"] == 5, "4 s before the kill and 1 s since"


def test_a_stage_nobody_planned_stands_where_it_happened(tmp_path: Path) -> None:
    append(
        tmp_path / EVENTS_FILE, plan("a", "c"), {"stage": "a", "event": "start", "total": 1},
        {"stage": "tokens", "event": "start", "total": 1}, {"stage": "c", "event": "start", "total": 1},
    )  # fmt: skip
    log = BuildLog(tmp_path)
    log.refresh()
    assert [stage["name"] for stage in log.snapshot()["stages"]] == ["a", "tokens", "c"]


def test_what_evaluation_measures_of_a_model_is_shown_where_it_was_made(tmp_path: Path) -> None:
    rows = [{"stage": "evaluate", "event": "metrics", "model": m, "gold": g} for m, g in (("base", 0.1), ("sft", 0.6))]
    append(tmp_path / EVENTS_FILE, plan("pretrain", "sft", "evaluate"), *rows)
    log = BuildLog(tmp_path)
    assert stage_of(log, "pretrain")["metrics"] == {"gold": 0.1}
    assert stage_of(log, "sft")["metrics"] == {"gold": 0.6}
    assert stage_of(log, "evaluate")["metrics"] == {"base gold": 0.1, "sft gold": 0.6}


def test_torn_and_foreign_lines_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / EVENTS_FILE
    whole = b'{"t": 1, "stage": "a", "event": "start", "total": 2}\n'
    file.write_bytes(b'{"t": 1, "sta\n[1]\n{"stage": 5}\n\xff\xfe\n\n' + whole + b'{"t"')
    log = BuildLog(tmp_path)
    assert stage_of(log, "a")["total"] == 2


def test_lines_are_read_once_and_whole(tmp_path: Path) -> None:
    file = tmp_path / EVENTS_FILE
    file.write_bytes(b"one\ntwo\nhal")
    lines, offset, restarted = read_lines(file, 0)
    assert (lines, offset, restarted) == ([(4, b"one"), (8, b"two")], 8, False)
    file.write_bytes(b"one\ntwo\nhalf\n")
    assert read_lines(file, offset) == ([(13, b"half")], 13, False)
    file.write_bytes(b"new\n")
    assert read_lines(file, 13) == ([(4, b"new")], 4, True)


def test_a_line_longer_than_a_block_is_read(tmp_path: Path) -> None:
    file = tmp_path / EVENTS_FILE
    file.write_bytes(b"x" * 3_000_000 + b"\nnext\n")
    lines, offset, _ = read_lines(file, 0)
    assert len(lines[0][1]) == 3_000_000
    assert offset in (3_000_001, 3_000_006)


def test_the_stream_goes_on_where_a_reader_stopped(empty_gateway: Running) -> None:
    file = empty_gateway.workspace / EVENTS_FILE
    append(file, plan("a"), {"stage": "a", "event": "start", "total": 2})
    with empty_gateway.client.stream("GET", "/api/build/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = Events(answer.iter_lines())
        assert events.next()["data"]["event"] == "plan"
        last = events.next()
        assert last["data"]["event"] == "start"
        assert events.next()["data"]["state"] == "running"
        append(file, {"stage": "a", "event": "step", "done": 1, "total": 2, "loss": 3.5})
        assert events.of("build")["data"]["loss"] == 3.5
    append(file, {"stage": "a", "event": "end", "seconds": 1}, {"stage": "build", "event": "done"})
    headers = {"Last-Event-ID": last["id"]}
    with empty_gateway.client.stream("GET", "/api/build/events", headers=headers) as answer:
        events = Events(answer.iter_lines())
        assert [events.of("build")["data"]["event"] for _ in range(3)] == ["step", "end", "done"]
        assert events.of("status")["data"]["state"] == "done"


def test_a_new_build_in_the_same_folder_starts_the_page_afresh(empty_gateway: Running) -> None:
    file = empty_gateway.workspace / EVENTS_FILE
    append(file, plan("a", "b", "c"), {"stage": "a", "event": "start", "total": 2})
    with empty_gateway.client.stream("GET", "/api/build/events") as answer:
        events = Events(answer.iter_lines())
        assert len(events.of("status")["data"]["stages"]) == 3
        file.unlink()
        append(file, plan("z"))
        assert events.of("reset")["data"] == {}
        assert [stage["name"] for stage in events.of("status")["data"]["stages"]] == ["z"]


@pytest.mark.parametrize("seen", ["-5", "abc", "99999999999999999999", "²", ""])
def test_a_nonsense_place_to_go_on_from_means_the_beginning(empty_gateway: Running, seen: str) -> None:
    append(empty_gateway.workspace / EVENTS_FILE, plan("a"))
    headers = {"Last-Event-ID": seen.encode()}
    with empty_gateway.client.stream("GET", "/api/build/events", headers=headers) as answer:
        assert Events(answer.iter_lines()).next()["data"]["event"] == "plan"


def test_a_long_history_is_thinned_but_keeps_everything_that_is_not_a_step(empty_gateway: Running) -> None:
    rows = [{"stage": "a", "event": "step", "done": n, "total": 90_000, "loss": 1.0} for n in range(60_000)]
    sample = {"stage": "a", "event": "sample", "prompt": "p", "response": "r"}
    append(empty_gateway.workspace / EVENTS_FILE, plan("a"), *rows[:30_000], sample, *rows[30_000:], sample)
    with empty_gateway.client.stream("GET", "/api/build/events") as answer:
        events = Events(answer.iter_lines())
        kinds: list[str] = []
        while kinds.count("sample") < 2:
            kinds.append(events.of("build")["data"]["event"])
    assert kinds[0] == "plan"
    assert 5_000 < kinds.count("step") < 40_000
