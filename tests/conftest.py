"""What all tests share: helpers importable as `tests.…`, and one torch thread, since two cores serve everybody."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

if os.environ.get("CHATWRIGHT_CI"):
    # The same examples in every run, so that a run that fails can be repeated; elsewhere each run tries new ones.
    settings.register_profile("ci", derandomize=True)
    settings.load_profile("ci")

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


def pytest_configure(config: pytest.Config) -> None:
    """Where CHATWRIGHT_CI is set, a test skipped for want of something CI should have fails the run."""
    if os.environ.get("CHATWRIGHT_CI") and not hasattr(config, "workerinput"):
        from tests.skips import NoSilentSkips

        config.pluginmanager.register(NoSilentSkips())


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    if (torch := sys.modules.get("torch")) is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)
