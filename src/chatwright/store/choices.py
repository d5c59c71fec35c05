"""What an operator set for this installation while it runs: a JSON value under each name."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Engine

from chatwright.store.audit import Note, enter
from chatwright.store.engine import insert_for, transaction
from chatwright.store.tables import choices


class Choices:
    """The table of operators' settings."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self) -> dict[str, Any]:
        with transaction(self._engine, writes=False) as connection:
            return {row.name: json.loads(row.value) for row in connection.execute(select(choices))}

    def get(self, name: str, default: Any = None) -> Any:
        with transaction(self._engine, writes=False) as connection:
            row = connection.execute(select(choices.c.value).where(choices.c.name == name)).one_or_none()
        return default if row is None else json.loads(row.value)

    def put(self, name: str, value: Any, who: str, note: Note | None = None) -> None:
        row = {"name": name, "value": json.dumps(value), "at": datetime.now(UTC), "who": who}
        changed = {key: row[key] for key in ("value", "at", "who")}
        with transaction(self._engine, writes=True) as connection:
            insert = insert_for(connection, choices, row)
            connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=changed))
            enter(connection, note)
