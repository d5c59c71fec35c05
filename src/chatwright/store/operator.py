"""What operators set for this installation, and the log of what they changed and looked at."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Connection, Engine

from chatwright.store.engine import insert_for, transaction
from chatwright.store.people import LOCAL, Person
from chatwright.store.tables import audit, choices, people


class Operators:
    """The tables of operators' choices (JSON under a name, where somebody set it) and of the audit log."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def choices(self) -> dict[str, Any]:
        with transaction(self._engine, writes=False) as connection:
            return {row.name: json.loads(row.value) for row in connection.execute(select(choices))}

    def choose(self, values: Mapping[str, Any], by: Person, now: datetime) -> None:
        """Sets those of `values` that change something, and audits each of them."""
        with transaction(self._engine, writes=True) as connection:
            known = {row.name: row.value for row in connection.execute(select(choices))}
            for name, value in values.items():
                text = json.dumps(value)
                if known.get(name) == text:
                    continue
                row = {"name": name, "value": text, "at": now, "who": by.id}
                set_ = {key: row[key] for key in ("value", "at", "who")}
                connection.execute(
                    insert_for(connection, choices, row).on_conflict_do_update(index_elements=["name"], set_=set_)
                )
                detail = {"from": json.loads(known[name]) if name in known else None, "to": value}
                enter(connection, by, "setting.changed", name, detail, now)

    def audited(self, before: int | None, limit: int, who: str = "", what: str = "") -> list[dict[str, Any]]:
        """The log, newest first, from behind the entry `before`."""
        query = select(audit).order_by(audit.c.id.desc()).limit(limit)
        query = query.where(audit.c.id < before) if before is not None else query
        query = query.where(audit.c.who == who) if who else query
        query = query.where(audit.c.what == what) if what else query
        with transaction(self._engine, writes=False) as connection:
            return [
                dict(row) | {"at": row["at"].isoformat(), "detail": json.loads(row["detail"])}
                for row in connection.execute(query).mappings()
            ]

    def is_last_admin(self, person: str) -> bool:
        with transaction(self._engine, writes=False) as connection:
            return admins(connection) == [person]

    def secret(self, name: str, now: datetime) -> str:
        """A random value that is made once for this installation and never shown."""
        row = {"name": name, "value": json.dumps(secrets.token_hex(32)), "at": now, "who": ""}
        with transaction(self._engine, writes=True) as connection:
            connection.execute(insert_for(connection, choices, row).on_conflict_do_nothing())
            kept = connection.execute(select(choices.c.value).where(choices.c.name == name)).scalar_one()
        return json.loads(kept)


def admins(connection: Connection, *, lock: bool = False) -> list[str]:
    """The ids of those who can still act as admin; with `lock` nobody else changes that before this transaction ends.

    The one person of an installation without accounts is none: nobody can sign in as them.
    """
    which = (people.c.role == "admin", people.c.disabled.is_(False), people.c.id != LOCAL)
    query = select(people.c.id).where(*which).order_by(people.c.id)
    return list(connection.execute(query.with_for_update() if lock else query).scalars())


def enter(
    connection: Connection, by: Person, what: str, subject: str, detail: Mapping[str, Any], now: datetime
) -> None:  # fmt: skip
    """A line of the audit log, in the transaction of the change itself."""
    row = {"at": now, "who": by.id, "name": by.name[:200], "what": what, "subject": subject[:200]}
    connection.execute(audit.insert().values(row | {"detail": json.dumps(detail)}))
