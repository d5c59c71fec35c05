"""A real gateway with scripted engines behind it, each in its own process, on loopback ports of this test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.postgres import postgres_server, postgres_url
from tests.product.running import Running, start_gateway, stop_gateway, write_serving

__all__ = ["postgres_server", "postgres_url"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Serves two scripted models, `sft` and the default `ppo`."""
    workspace = tmp_path_factory.mktemp("workspace")
    write_serving(workspace, ("sft", "ppo"))
    running = start_gateway(workspace)
    running.wait_ready("ppo")
    running.wait_ready("sft")
    yield running
    stop_gateway(running)


@pytest.fixture
def empty_gateway(tmp_path: Path) -> Iterator[Running]:
    """Serves nothing yet, as while a build runs."""
    running = start_gateway(tmp_path)
    yield running
    stop_gateway(running)
