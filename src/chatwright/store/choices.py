"""What an operator set for this installation while it runs: a JSON value under each name."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Engine

from chatwright.store.audit import Note, enter
from chatwright.store.engine import insert_for, transaction
from chatwright.store.people import Person
from chatwright.store.tables import choices


class Choices:
    """The table of operators' settings."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self) -> dict[str, Any]:
        with transaction(self._engine, writes=False) as connection:
            return {row.name: json.loads(row.value) for row in connection.execute(select(choices))}

    def choose(self, values: Mapping[str, Any], by: Person, now: datetime) -> None:
        """Sets those of `values` that change something; each change is in the audit log."""
        with transaction(self._engine, writes=True) as connection:
            known = {row.name: row.value for row in connection.execute(select(choices))}
            for name, value in values.items():
                text = json.dumps(value)
                if known.get(name) == text:
                    continue
                row = {"name": name, "value": text, "at": now, "who": by.id}
                changed = {key: row[key] for key in ("value", "at", "who")}
                insert = insert_for(connection, choices, row)
                connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=changed))
                detail = {"from": json.loads(known[name]) if name in known else None, "to": value}
                enter(connection, Note(by.id, by.name, "setting.changed", name, detail), now)

    def secret(self, name: str, now: datetime) -> str:
        """A random value that is made once for this installation and never shown."""
        row = {"name": name, "value": json.dumps(secrets.token_hex(32)), "at": now, "who": ""}
        with transaction(self._engine, writes=True) as connection:
            connection.execute(insert_for(connection, choices, row).on_conflict_do_nothing())
            kept = connection.execute(select(choices.c.value).where(choices.c.name == name)).scalar_one()
        return json.loads(kept)
