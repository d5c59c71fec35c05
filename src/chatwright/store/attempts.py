"""How often somebody tried to sign in: buckets that fill up again, shared by all gateways of one database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.engine import Engine

from chatwright.store.engine import insert_for, transaction
from chatwright.store.tables import attempts


@dataclass(frozen=True, slots=True)
class Pace:
    """`most` at once, and one more every `seconds`."""

    most: int
    seconds: float


class Attempts:
    """The table of buckets, by a name such as the hash of an account's address."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def take(self, name: str, pace: Pace, now: datetime) -> float:
        """Takes one of the attempts that are left: 0; where none is, the seconds until there is one.

        A clock that was set back does not fill the bucket, and does not keep it empty for ever.
        """
        row = {"name": name, "left": float(pace.most), "at": now}
        which = attempts.c.name == name
        with transaction(self._engine, writes=True) as connection:
            connection.execute(insert_for(connection, attempts, row).on_conflict_do_nothing())
            found = connection.execute(select(attempts).where(which).with_for_update()).one()
            passed = max(0.0, (now - found.at).total_seconds())
            left = min(float(pace.most), found.left + passed / pace.seconds)
            wait = (1 - left) * pace.seconds
            left = left if wait > 0 else left - 1
            connection.execute(update(attempts).where(which).values(left=left, at=now))
        return max(0.0, wait)

    def give_back(self, name: str) -> None:
        """It was the right person after all: the bucket is as new."""
        with transaction(self._engine, writes=True) as connection:
            connection.execute(delete(attempts).where(attempts.c.name == name))

    def forget(self, now: datetime, after: timedelta = timedelta(days=1)) -> int:
        """Deletes the buckets nobody has used for long, which are full; how many."""
        with transaction(self._engine, writes=True) as connection:
            return connection.execute(delete(attempts).where(attempts.c.at < now - after)).rowcount
