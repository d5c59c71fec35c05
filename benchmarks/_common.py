"""What the benchmarks share: the machine's facts, the development data, medians with their spread, peers as processes.

A benchmark prints one JSON object on standard output and what it does meanwhile on standard error. Where the
data it needs are absent it says so and ends with exit code 0: {"benchmark", "skipped": reason}.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
"""Development data lie beside the checkout, or where --data says."""


def parser(about: str, *, data: bool = False) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    if data:
        made.add_argument("--data", type=Path, default=DATA, help="folder of the development data")
    return made


def machine() -> dict[str, Any]:
    """Facts a figure cannot be read without. Imports torch, so call `prepare_process` first."""
    import torch

    from chatwright.machine import available_cores

    return {
        "cpu": _cpu_model(),
        "cores": available_cores(),
        "bf16_hardware": bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def spread(values: Sequence[float], digits: int = 4) -> dict[str, Any]:
    """Median, smallest, largest and number of repeated measurements, to `digits` significant digits."""
    if not values:
        return {"median": None, "min": None, "max": None, "n": 0}
    picked = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {key: float(f"{value:.{digits}g}") for key, value in picked.items()} | {"n": len(values)}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def report(name: str, **figures: Any) -> None:
    print(json.dumps({"benchmark": name, **figures}), flush=True)


def skip(name: str, reason: str) -> NoReturn:
    report(name, skipped=reason)
    raise SystemExit(0)


def need(name: str, *files: Path) -> None:
    """Ends the benchmark as skipped where one of `files` is absent."""
    for file in files:
        if not file.exists():
            skip(name, f"the development data are absent ({file.parent.name}/{file.name}); name them with --data")


class Worker:
    """A program of its own that does a block of work whenever it is asked, and waits in between.

    Peers that take turns this way meet the same machine in the same minute, each with its own libraries, threads and
    environment, and with its own `python` where it is installed elsewhere. The program is a benchmark script called
    with `arguments`; it calls `obey`.
    """

    def __init__(self, script: str, *arguments: str, python: str = sys.executable, **environment: str) -> None:
        self.process = subprocess.Popen(
            [python, script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **environment},
        )  # fmt: skip
        self.ready = self._answer()

    def ask(self, **order: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        """The next line of JSON; whatever a library prints besides is passed on to standard error."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                answer = json.loads(line)
            except ValueError:
                answer = None
            if isinstance(answer, dict):
                return answer
            say(line.rstrip())
        raise SystemExit(f"a benchmark's worker ended with code {self.process.wait()}; its complaint stands above")

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def obey(ready: dict[str, Any], block: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The worker's side: tells `ready`, then answers each line of standard input."""
    print(json.dumps(ready), flush=True)
    for line in sys.stdin:
        print(json.dumps(block(json.loads(line))), flush=True)
