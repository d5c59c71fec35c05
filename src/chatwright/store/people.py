"""People: their accounts, and what they chose."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.engine import Engine

from chatwright.store.engine import insert_for, transaction
from chatwright.store.tables import people

LOCAL = "local"
"""The id of the one person of an installation without accounts."""


@dataclass(frozen=True, slots=True)
class Person:
    """One account. `role` is one of "user", "labeller", "operator", "admin"; `settings` is what the person chose."""

    id: str
    name: str
    role: str
    created: datetime
    email: str | None = None
    disabled: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


class People:
    """The table of accounts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def local(self, now: datetime) -> Person:
        """The one person of an installation without accounts, who may do everything; made where not yet there."""
        row = {
            "id": LOCAL, "name": "You", "role": "admin", "disabled": False, "created": now, "settings": "{}",
        }  # fmt: skip
        with transaction(self._engine, writes=True) as connection:
            connection.execute(insert_for(connection, people, row).on_conflict_do_nothing())
            return _person(connection.execute(select(people).where(people.c.id == LOCAL)).one())

    def get(self, ident: str) -> Person | None:
        with transaction(self._engine, writes=False) as connection:
            row = connection.execute(select(people).where(people.c.id == ident)).one_or_none()
        return None if row is None else _person(row)

    def choose(self, ident: str, settings: Mapping[str, Any]) -> None:
        """Keeps other settings of a person."""
        with transaction(self._engine, writes=True) as connection:
            changed = update(people).where(people.c.id == ident)
            connection.execute(changed.values(settings=json.dumps(settings)))


def _person(row: Row[Any]) -> Person:
    return Person(row.id, row.name, row.role, row.created, row.email, row.disabled, json.loads(row.settings))
