"""API keys. One is shown as cw-PREFIX.SECRET once; kept are its prefix, as `id`, and the SHA-256 of its secret."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, or_, select, update
from sqlalchemy.engine import Engine

from chatwright.store.audit import Note, enter
from chatwright.store.engine import transaction
from chatwright.store.people import Person, check_reach, person_in
from chatwright.store.tables import keys, people

USED_EVERY = timedelta(minutes=1)
"""How often it is written down that a key is in use."""
NEWEST = (keys.c.created.desc(), keys.c.id)


@dataclass(frozen=True, slots=True)
class Key:
    """`limits` are tighter ones than the person's: see `groups.LIMITS`."""

    id: str
    person: str
    name: str
    hash: str
    scopes: frozenset[str]
    created: datetime
    expires: datetime | None = None
    used: datetime | None = None
    revoked: datetime | None = None
    limits: dict[str, int] = field(default_factory=dict)


class Keys:
    """The table of keys."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, key: Key, most: int) -> bool:
        """False where the person has `most` keys already."""
        row = {name: getattr(key, name) for name in ("id", "person", "name", "hash", "created", "expires")}
        row |= {"scopes": " ".join(sorted(key.scopes)), "limits": json.dumps(key.limits)}
        mine = select(keys.c.id).where(keys.c.person == key.person, keys.c.revoked.is_(None))
        with transaction(self._engine, writes=True) as connection:
            connection.execute(select(people.c.id).where(people.c.id == key.person).with_for_update()).all()
            if len(connection.execute(mine).all()) >= most:
                return False
            connection.execute(keys.insert().values(row))
        return True

    def find(self, ident: str, now: datetime) -> tuple[Key, Person] | None:
        """A key that is valid now, by its prefix, and whose it is. Whoever asks compares the hash."""
        with transaction(self._engine, writes=False) as connection:
            row = connection.execute(select(keys).where(keys.c.id == ident)).one_or_none()
            if row is None or row.revoked is not None or (row.expires is not None and row.expires <= now):
                return None
            whose = connection.execute(select(people).where(people.c.id == row.person)).one_or_none()
            if whose is None or whose.disabled:
                return None
            return _key(row), person_in(connection, whose)

    def use(self, ident: str, now: datetime) -> None:
        """Notes that a key is in use, at most once a minute."""
        old = or_(keys.c.used.is_(None), keys.c.used <= now - USED_EVERY)
        with transaction(self._engine, writes=True) as connection:
            connection.execute(update(keys).where(keys.c.id == ident, old).values(used=now))

    def of(self, person: str) -> list[Key]:
        """The keys of a person that were not revoked; newest first."""
        query = select(keys).where(keys.c.revoked.is_(None), keys.c.person == person)
        with transaction(self._engine, writes=False) as connection:
            return [_key(row) for row in connection.execute(query.order_by(*NEWEST))]

    def all(self) -> list[tuple[Key, str]]:
        """Everybody's keys that were not revoked, and what the person is called; newest first."""
        query = select(keys, people.c.name.label("whose")).join(people, people.c.id == keys.c.person)
        with transaction(self._engine, writes=False) as connection:
            rows = connection.execute(query.where(keys.c.revoked.is_(None)).order_by(*NEWEST))
            return [(_key(row), row.whose) for row in rows]

    def revoke(self, ident: str, now: datetime, person: str) -> bool:
        """False where the person has no such key."""
        which = (keys.c.id == ident, keys.c.revoked.is_(None), keys.c.person == person)
        with transaction(self._engine, writes=True) as connection:
            return connection.execute(update(keys).where(*which).values(revoked=now)).rowcount > 0

    def revoke_by(self, by: Person, ident: str, now: datetime) -> bool:
        """What an operator revokes, which is in the audit log; False where there is no such key.

        Raises Forbidden where it belongs to somebody with more rights.
        """
        which = (keys.c.id == ident, keys.c.revoked.is_(None))
        with transaction(self._engine, writes=True) as connection:
            whose = select(people.c.id, people.c.role).join(keys, keys.c.person == people.c.id)
            row = connection.execute(whose.where(*which)).one_or_none()
            if row is None:
                return False
            check_reach(by, row.role)
            gone = connection.execute(update(keys).where(*which).values(revoked=now)).rowcount > 0
            if gone:
                enter(connection, Note(by.id, by.name, "key.revoked", ident, {"person": row.id}), now)
            return gone


def _key(row: Row[Any]) -> Key:
    scopes = frozenset(row.scopes.split())
    return Key(
        row.id, row.person, row.name, row.hash, scopes, row.created, row.expires, row.used, row.revoked,
        json.loads(row.limits),
    )  # fmt: skip
