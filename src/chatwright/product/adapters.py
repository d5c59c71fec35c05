"""A LoRA adapter as a model of its own: it is asked by its name, and answered by the engine of the model it adapts."""

from __future__ import annotations

from collections.abc import Callable

from chatwright.product.serving import ServedModel
from chatwright.product.supervisor import EngineState, Served
from chatwright.product.upstream import Client


class AdaptedEngine:
    """What `Supervisor` keeps for an adapter; it starts and ends with `base`."""

    def __init__(self, model: ServedModel, base: Served) -> None:
        self.model, self.base, self.asked_as = model, base, model.name

    @property
    def client(self) -> Client:
        return self.base.client

    @property
    def state(self) -> EngineState:
        return self.base.state

    @property
    def reason(self) -> str:
        return self.base.reason

    def start(self) -> None:
        self.base.start()

    def doubt(self) -> None:
        self.base.doubt()

    async def settled(self) -> None:
        await self.base.settled()

    async def wait_ready(self, seconds: float, ending: Callable[[], bool]) -> None:
        await self.base.wait_ready(seconds, ending)

    async def metrics(self) -> str:
        """Nothing: the engine counts for all its adapters."""
        return ""

    async def stop(self) -> None:
        """Nothing: the engine stays for others."""
