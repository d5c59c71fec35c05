"""What an operator sets while the gateway runs, with bounds on everything; kept in the database, read a few times a
minute by every gateway of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, ValidationError

from chatwright.config import ServeConfig
from chatwright.engine.protocol.body import StrictBody
from chatwright.errors import ConfigError
from chatwright.store import Person, Store

FRESH_SECONDS = 2.0
"""How old what is known of the choices may be: so long another gateway's change takes to arrive."""
SAME = "same"
Model = Annotated[str, Field(min_length=1, max_length=200)]


class Choices(StrictBody):
    """`compare_with` names models whose answer may stand beside another; "same": another sample of the same one."""

    compare_rate: float = Field(0.0, ge=0, le=1)
    compare_with: list[Model] = Field(default=[SAME], min_length=1, max_length=20)
    feedback_per_minute: int = Field(30, ge=1, le=1_000)
    keep_days: int = Field(90, ge=0, le=36_500)
    keep_rows: int = Field(1_000_000, ge=0, le=2_000_000_000)


class Chosen:
    """The choices of this installation; what nobody chose is as `settings` has it."""

    def __init__(
        self, store: Store, settings: ServeConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:  # fmt: skip
        self._store, self._clock = store, clock
        self._base = {"keep_days": settings.keep_days, "keep_rows": settings.keep_rows}
        self._known: Choices | None = None
        self._until = 0.0

    def read(self) -> Choices:
        """As they are in the database now. Raises ConfigError where somebody wrote there what cannot be."""
        kept = {name: value for name, value in self._store.choices.all().items() if name in Choices.model_fields}
        try:
            known = Choices.model_validate(self._base | kept)
        except ValidationError as error:
            raise ConfigError(f"a setting in the database cannot be used ({error.errors()[0]['msg']})") from None
        self._known, self._until = known, self._clock() + FRESH_SECONDS
        return known

    async def now(self) -> Choices:
        """As they were at most `FRESH_SECONDS` ago."""
        if self._known is None or self._clock() >= self._until:
            return await asyncio.to_thread(self.read)
        return self._known

    def set(self, values: Mapping[str, Any], by: Person, at: datetime) -> Choices:
        self._store.choices.choose(values, by, at)
        return self.read()
