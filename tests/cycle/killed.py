"""Runs the command line and kills it with SIGKILL in the middle of a stage: `killed.py STAGE ARGUMENTS...`."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from chatwright.cli.main import main
from chatwright.progress import Stage

victim = sys.argv.pop(1)
advance = Stage.advance


def deadly(self: Stage, done: int, **figures: Any) -> None:
    advance(self, done, **figures)
    if self.name == victim and done >= 0.6 * self.total:
        os.kill(os.getpid(), signal.SIGKILL)


Stage.advance = deadly  # type: ignore[method-assign]
main()
