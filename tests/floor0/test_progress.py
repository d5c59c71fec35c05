"""The event stream of long work."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from chatwright.progress import EVENTS_FILE, Progress


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / EVENTS_FILE).read_text().splitlines()]


def test_stage_tells_its_start_last_step_and_end(tmp_path: Path) -> None:
    with Progress(tmp_path) as progress, progress.stage("sft", total=1000, model="base") as stage:
        for done in range(1, 1001):
            stage.advance(done, loss=1 / done)
        stage.metrics(heldout=0.5)
        stage.sample("hi", "hello")
        stage.note("a note")
        stage.warn("a warning")
    found = events(tmp_path)
    assert found[0] == {"t": found[0]["t"], "stage": "sft", "event": "start", "total": 1000, "model": "base"}
    steps = [event for event in found if event["event"] == "step"]
    assert (steps[0]["done"], steps[-1]["done"], steps[-1]["loss"]) == (1, 1000, 0.001)
    assert len(steps) < 200
    assert [event["event"] for event in found[-5:]] == ["metrics", "sample", "note", "warn", "end"]
    assert all(one["t"] <= other["t"] for one, other in pairwise(found))


def test_interruption_is_told_and_raised(tmp_path: Path) -> None:
    progress = Progress(tmp_path)

    def work() -> None:
        with progress.stage("sft", total=10) as stage:
            stage.advance(3)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    last = events(tmp_path)[-1]
    assert (last["event"], last["done"], last["reason"]) == ("interrupted", 3, "KeyboardInterrupt")


def test_resumed_work_goes_on_in_the_same_file(tmp_path: Path) -> None:
    for _ in range(2):
        with Progress(tmp_path) as progress, progress.stage("sft", total=1):
            pass
    assert [event["event"] for event in events(tmp_path)] == ["start", "end"] * 2


def test_silent_progress_needs_no_folder() -> None:
    with Progress() as progress, progress.stage("sft", total=2) as stage:
        stage.advance(1, loss=2.0)
        stage.sample("a", "b")


def test_terminal_bars_stay_off_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(terminal=True) as progress, progress.stage("sft", total=2) as stage:
        stage.advance(1, loss=2.0)
        stage.warn("[bold]no markup[/bold]")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "[bold]no markup[/bold]" in captured.err
    assert "sft" in captured.err


def test_awkward_numbers_stay_json(tmp_path: Path) -> None:
    import numpy as np

    with Progress(tmp_path) as progress, progress.stage("sft", total=1) as stage:
        stage.metrics(loss=np.float32(0.5), steps=np.int64(3))
    assert events(tmp_path)[1]["loss"] == 0.5


FULL = """
import resource, sys
from pathlib import Path
from chatwright.errors import ChatwrightError
from chatwright.progress import Progress
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
progress = Progress(Path(sys.argv[1]))
try:
    while True:
        progress.emit("sft", "note", text="x" * 300)
except ChatwrightError as error:
    print(error)
"""


def test_full_disk_is_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / EVENTS_FILE) in done.stdout
    assert done.stdout.count("\n") == 1


def test_figures_that_are_no_numbers_are_null(tmp_path: Path) -> None:
    """JSON has no word for them, and the page reads every line."""
    with Progress(tmp_path) as progress, progress.stage("sft", total=1) as stage:
        stage.advance(1, loss=float("nan"), norm=float("inf"))
        stage.metrics(curve=[{"x": float("-inf")}])
    text = (tmp_path / EVENTS_FILE).read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    found = events(tmp_path)
    assert (found[1]["loss"], found[1]["norm"], found[2]["curve"]) == (None, None, [{"x": None}])
