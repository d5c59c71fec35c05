"""The audit log: every change somebody made to somebody else's things, or to how this installation runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Connection, Engine

from chatwright.store.engine import transaction
from chatwright.store.tables import audit


@dataclass(frozen=True, slots=True)
class Note:
    """What is to be entered with a change: who made it (id and name then), what it was, of what, and how."""

    who: str
    name: str
    what: str
    subject: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Noted:
    """An entry of the log. `name` is what the person was called when it was made."""

    id: int
    at: datetime
    who: str
    name: str
    what: str
    subject: str
    detail: dict[str, Any]


def enter(connection: Connection, note: Note | None, now: datetime | None = None) -> None:
    """Enters a change in the transaction that makes it, so that neither is there without the other."""
    if note is None:
        return
    row = {
        "at": now or datetime.now(UTC), "who": note.who, "name": note.name[:200], "what": note.what[:80],
        "subject": note.subject[:200], "detail": json.dumps(note.detail),
    }  # fmt: skip
    connection.execute(audit.insert().values(row))


class Audit:
    """Entries are added and read, never changed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, note: Note) -> None:
        with transaction(self._engine, writes=True) as connection:
            enter(connection, note)

    def page(
        self, *, before: int | None = None, who: str | None = None, what: str | None = None, limit: int = 50
    ) -> list[Noted]:
        """The newest entries first, from behind the id `before`."""
        query = select(audit).order_by(audit.c.id.desc()).limit(limit)
        for column, value in ((audit.c.who, who), (audit.c.what, what)):
            query = query if value is None else query.where(column == value)
        if before is not None:
            query = query.where(audit.c.id < before)
        with transaction(self._engine, writes=False) as connection:
            return [
                Noted(row.id, row.at, row.who, row.name, row.what, row.subject, json.loads(row.detail))
                for row in connection.execute(query)
            ]
