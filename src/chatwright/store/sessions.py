"""Sessions: who is signed in where. The cookie's token is a secret; kept is its SHA-256, as `id`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select, update
from sqlalchemy.engine import Engine

from chatwright.store.engine import transaction
from chatwright.store.people import Person, person_in
from chatwright.store.tables import people, sessions

SEEN_EVERY = timedelta(minutes=1)
"""How often it is written down that a session is in use."""
FROM_THE_FUTURE = timedelta(minutes=5)
"""A session that begins later than this from now was made while the clock was wrong: it would live too long."""


@dataclass(frozen=True, slots=True)
class Session:
    """`expires` is the end of it, however much it is used; `agent` is what the browser calls itself."""

    id: str
    person: str
    created: datetime
    seen: datetime
    expires: datetime
    agent: str = ""


class Sessions:
    """The table of sessions."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, session: Session, *, instead_of: str | None = None) -> None:
        """Begins a session; the one it takes the place of ends in the same moment."""
        with transaction(self._engine, writes=True) as connection:
            if instead_of is not None:
                connection.execute(delete(sessions).where(sessions.c.id == instead_of))
            connection.execute(sessions.insert().values(asdict(session)))

    def find(self, ident: str, now: datetime, idle: timedelta) -> Person | None:
        """The person of a session that is valid now; notes now and then that it is in use."""
        query = select(people, sessions.c.created.label("since"), sessions.c.seen, sessions.c.expires)
        query = query.join(sessions, sessions.c.person == people.c.id).where(sessions.c.id == ident)
        with transaction(self._engine, writes=False) as connection:
            row = connection.execute(query).one_or_none()
            if row is None or row.disabled or row.since > now + FROM_THE_FUTURE:
                return None
            if now >= row.expires or now - row.seen >= idle:
                return None
            person = person_in(connection, row)
        if now - row.seen >= SEEN_EVERY:
            with transaction(self._engine, writes=True) as connection:
                connection.execute(update(sessions).where(sessions.c.id == ident).values(seen=now))
        return person

    def of(self, person: str, now: datetime, idle: timedelta) -> list[Session]:
        """Somebody's valid sessions, the one used last first."""
        valid = (sessions.c.person == person, sessions.c.expires > now, sessions.c.seen > now - idle)
        query = select(sessions).where(*valid).order_by(sessions.c.seen.desc(), sessions.c.id)
        with transaction(self._engine, writes=False) as connection:
            return [Session(*row) for row in connection.execute(query)]

    def end(self, ident: str, person: str) -> bool:
        """False where the person has no such session."""
        mine = (sessions.c.id == ident, sessions.c.person == person)
        with transaction(self._engine, writes=True) as connection:
            return connection.execute(delete(sessions).where(*mine)).rowcount > 0

    def end_all(self, person: str, *, but: str | None = None) -> int:
        """Signs somebody out everywhere, or everywhere but in the session `but`; how many sessions ended."""
        which = [sessions.c.person == person] + ([sessions.c.id != but] if but is not None else [])
        with transaction(self._engine, writes=True) as connection:
            return connection.execute(delete(sessions).where(*which)).rowcount

    def forget(self, now: datetime, idle: timedelta) -> int:
        """Deletes what is over; how many."""
        over = or_(sessions.c.expires <= now, sessions.c.seen <= now - idle)
        with transaction(self._engine, writes=True) as connection:
            return connection.execute(delete(sessions).where(over)).rowcount
