"""Running code that nobody has read: calls into an answer's Python, in a process that may do little and not for long.

What holds it: a process of its own (`python -I -S -B`, no environment, an empty working folder that goes afterwards,
standard streams on /dev/null) with hard limits on CPU time, address space, file size (0 bytes), processes (0) and open
files, and without a way to new privileges. Where this process is root, that one is nobody, locked into the folder of
Python's installation. It is killed with its whole process group when it answers, says too much or runs out of
wall-clock time, and by the kernel when this process dies. An audit hook refuses files outside Python's own, sockets,
signals, other processes and ctypes.

What does not: the hook lives in the interpreter it watches, and code that means to can get around it. Then it can reach
the network and, unless it is nobody, read whatever its user may read, remove or cut short that user's files (never grow
one) and signal that user's processes. The limits stay; the kernel is not otherwise shielded. Off Linux there is no
nobody and no death signal, and macOS does not enforce the limit of address space. It stops the accidents and the
shortcuts that training finds, not an enemy: run answers of a model you do not trust in a container or virtual machine
of its own, under a user of its own, without network.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from chatwright.errors import InputError

INSIDE = Path(__file__).with_name("sandboxed.py")


@dataclass(frozen=True, slots=True)
class Limits:
    """`seconds` of CPU time; by the clock it may take ten times as long, for a machine that is busy."""

    seconds: int = 2
    memory_mb: int = 512
    output: int = 65_536
    """bytes of results read, after which the process is killed"""

    @property
    def wall_seconds(self) -> float:
        return 10.0 * self.seconds


def run_calls(code: str, calls: Sequence[str], limits: Limits) -> list[str | None]:
    """repr of each expression of `calls` after `code` has run; None for each that gave no value within the limits.

    What comes back was written by the code under test: it is a claim about values, and nothing in it is to be run.
    """
    job = json.dumps({"code": code, "calls": list(calls)}).encode("utf-8", "replace")
    settings = json.dumps({"seconds": limits.seconds, "memory": limits.memory_mb << 20})
    command = [sys.executable, "-I", "-S", "-B", str(INSIDE), settings]
    with tempfile.TemporaryDirectory(prefix="chatwright-sandbox-") as folder, tempfile.TemporaryFile() as given:
        given.write(job)
        given.seek(0)
        process = subprocess.Popen(
            command, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder, env={},
            start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            said = _read(process.stdout, limits)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()
    return _parsed(said, len(calls))


def _read(pipe: IO[bytes], limits: Limits) -> bytes:
    """What the process writes until it closes the pipe; b"" where that is too much or takes too long."""
    said, deadline = b"", time.monotonic() + limits.wall_seconds
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while len(said) <= limits.output:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return b""
            more = os.read(pipe.fileno(), limits.output + 1)
            if not more:
                return said
            said += more
    return b""


def _parsed(said: bytes, count: int) -> list[str | None]:
    try:
        values = json.loads(said)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or len(values) != count:
        return [None] * count
    return [value if isinstance(value, str) else None for value in values]


def check_sandbox(limits: Limits) -> None:
    """Raises InputError where the sandbox cannot run even harmless code here, before every answer is called wrong."""
    probe = "import math, re, collections\ndef probe(x):\n    return math.gcd(x, 12)"
    if run_calls(probe, ["probe(18)"], limits) != ["6"]:
        raise InputError(
            f"the sandbox cannot run Python here within {limits.seconds} s of CPU time and {limits.memory_mb} MB; "
            "raise grpo.test_seconds or grpo.test_memory_mb, or let every user read the folder of Python's installation"
        )
