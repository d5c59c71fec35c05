"""Starts and stops real gateways with scripted engines, for the tests here and in the browser."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
START = """
import sys
from pathlib import Path
from chatwright.config import ServeConfig
from chatwright.product import serve
serve(
    ServeConfig.model_validate_json(sys.argv[2]), Path(sys.argv[1]), announce=True,
    engine_command=(sys.executable, "-m", "tests.engine_server.scripted"),
)
"""
PATIENCE = 60.0


def eventually(check: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """The first truthy value of `check`; fails where none comes in time."""
    limit = time.monotonic() + patience
    while time.monotonic() < limit:
        if value := check():
            return value
        time.sleep(0.02)
    raise AssertionError("what was waited for did not happen")


@dataclass
class Running:
    """A gateway process and a client of it."""

    url: str
    process: subprocess.Popen[str]
    workspace: Path
    client: httpx.Client
    setup: str = ""
    """The link that makes the first admin, where people have accounts and nobody has made one yet."""

    def wait_ready(self, name: str) -> None:
        eventually(lambda: self.client.get("/healthz").json()["models"].get(name) == "ready")

    def chat(self, text: str, **more: Any) -> httpx.Response:
        body = {"model": "ppo", "messages": [{"role": "user", "content": text}], **more}
        return self.client.post("/v1/chat/completions", json=body)


def write_serving(workspace: Path, names: tuple[str, ...]) -> None:
    """`serving.json` as a build writes it: whole or not at all. The last name is the default."""
    from chatwright.files import write_json

    rows: list[dict[str, Any]] = []
    for name in names:
        (workspace / name).mkdir(exist_ok=True)
        rows.append({"id": f"{name}-0123", "name": name, "path": name, "role": name, "default": name == names[-1]})
    write_json(workspace / "serving.json", {"models": rows, "starters": ["Who are you?"]})


def start_gateway(workspace: Path, **settings: Any) -> Running:
    workspace.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", START, str(workspace), json.dumps({"port": 0} | settings)],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    client = httpx.Client(base_url=said["url"], timeout=PATIENCE)
    return Running(said["url"], process, workspace, client, said.get("setup", ""))


def stop_gateway(running: Running) -> None:
    running.client.close()
    running.process.terminate()
    try:
        running.process.wait(30)
    except subprocess.TimeoutExpired:
        running.process.kill()
        running.process.wait()
    assert running.process.stdout is not None
    running.process.stdout.close()
