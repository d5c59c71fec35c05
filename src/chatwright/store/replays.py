"""Idempotency keys: the answer that the first request with a key got, for those that come with it again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.engine import Engine

from chatwright.store.engine import insert_for, transaction
from chatwright.store.tables import replays

KEPT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Replay:
    """`request` is a hash of what was asked; `status` is None while it is being answered."""

    request: str
    status: int | None
    headers: str
    body: bytes


class Replays:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def claim(self, key: str, request: str, now: datetime, owner: str | None = None) -> Replay | None:
        """None where the key is new, and now taken; otherwise what is known under it."""
        row = {"key": key, "request": request, "created": now, "owner": owner}
        with transaction(self._engine, writes=True) as connection:
            connection.execute(delete(replays).where(replays.c.created < now - KEPT))
            insert = insert_for(connection, replays, row).on_conflict_do_nothing().returning(replays.c.key)
            if connection.execute(insert).one_or_none() is not None:
                return None
            found = connection.execute(select(replays).where(replays.c.key == key)).one()
        return Replay(found.request, found.status, found.headers or "{}", found.body or b"")

    def settle(self, key: str, status: int, headers: str, body: bytes) -> None:
        with transaction(self._engine, writes=True) as connection:
            changed = update(replays).where(replays.c.key == key)
            connection.execute(changed.values(status=status, headers=headers, body=body))

    def release(self, key: str) -> None:
        """Nothing was answered that may be repeated: the next request with the key is the first."""
        with transaction(self._engine, writes=True) as connection:
            connection.execute(delete(replays).where(replays.c.key == key))

    def release_unsettled(self) -> None:
        """After a crash: nobody is answering any of them any more."""
        with transaction(self._engine, writes=True) as connection:
            connection.execute(delete(replays).where(replays.c.status.is_(None)))
