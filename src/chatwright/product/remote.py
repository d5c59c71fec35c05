"""An upstream by URL: vLLM, SGLang, llama-server, another gateway, a hosted API.

Redirects are not followed, so that a key never goes to another host; keys come from an environment variable and are
written down nowhere.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from chatwright.product.serving import ServedModel
from chatwright.product.supervisor import EngineState, until_ready
from chatwright.product.upstream import Client, UpstreamError

POLL_SECONDS = 2.0
PATIENCE_SECONDS = 5.0
"""Nothing of ours is being started: who waits longer for an upstream waits for somebody to mend it."""


class RemoteEngine:
    """Stands where an `EngineProcess` stands, without a process of ours."""

    def __init__(self, model: ServedModel) -> None:
        self.model = model
        self.state: EngineState = "waiting"
        self.reason = ""
        key = os.environ.get(model.key_env, "") if model.key_env else ""
        self._missing_key = bool(model.key_env) and not key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.client = Client(model.url, headers=headers)
        self._found = ""
        self._ready, self._doubted = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def asked_as(self) -> str:
        return self.model.upstream_model or self._found

    def start(self) -> None:
        self.state = "starting"
        self._task = asyncio.create_task(self._watch())

    async def settled(self) -> None:
        """Nothing of ours is being started."""

    async def wait_ready(self, seconds: float, ending: Callable[[], bool]) -> None:
        await until_ready(self, self._ready, min(seconds, PATIENCE_SECONDS), ending)

    def doubt(self) -> None:
        self.state = "restarting"
        self._ready.clear()
        self._doubted.set()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.client.aclose()
        self.state = "stopped"

    async def metrics(self) -> str:
        """A foreign upstream is scraped by itself, under its own names."""
        return ""

    async def _watch(self) -> None:
        while True:
            self.reason = await self._problem()
            if not self.reason:
                self.state = "ready"
                self._doubted.clear()
                self._ready.set()
                await self._doubted.wait()
            else:
                self.state = "restarting"
            await asyncio.sleep(POLL_SECONDS)

    async def _problem(self) -> str:
        """Why the upstream cannot be used, or ""."""
        if self._missing_key:
            return f"the environment variable {self.model.key_env} is not set"
        try:
            answer = await self.client.get("/models", timeout=5)
        except UpstreamError as error:
            return f"it does not answer ({error})"
        if answer.status_code in (401, 403):
            return "it refuses this server's key"
        if answer.status_code != 200:
            return f"it answers with status {answer.status_code}"
        try:
            listed = [str(row["id"]) for row in answer.json()["data"]]
        except (ValueError, KeyError, TypeError):
            return "it lists no models, so it is no OpenAI-compatible API"
        if not self.model.upstream_model and not listed:
            return "it serves no model"
        self._found = listed[0] if listed else ""
        return ""
