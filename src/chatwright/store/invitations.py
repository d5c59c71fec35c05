"""Links that can be used once: to make the first admin, to make an account, to set a new password.

The link's token is a secret; kept is its SHA-256, as `id`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, delete, select, update
from sqlalchemy.engine import Connection, Engine

from chatwright.errors import InputError
from chatwright.store.audit import Note, enter
from chatwright.store.engine import transaction
from chatwright.store.people import Person, add_person, admins, check_reach
from chatwright.store.tables import groups as known_groups
from chatwright.store.tables import invitations, people, sessions

SETUP, INVITE, RESET = "setup", "invite", "reset"


@dataclass(frozen=True, slots=True)
class Invitation:
    """`person` is whose password a "reset" sets; `by` is who made it, None where the server itself did."""

    id: str
    purpose: str
    role: str
    created: datetime
    expires: datetime
    groups: tuple[str, ...] = ()
    email: str | None = None
    person: str | None = None
    by: str | None = None
    used: datetime | None = None


class Invitations:
    """The table of links. One that was used, is over, or was made for a first admin that is there, is not found."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, invitation: Invitation, note: Note | None = None) -> None:
        """Raises InputError for a group that is not there."""
        row = asdict(invitation) | {"groups": json.dumps(invitation.groups)}
        with transaction(self._engine, writes=True) as connection:
            if missing := set(invitation.groups) - set(_there(connection, invitation.groups)):
                raise InputError(f"there is no group {min(missing)!r}")
            connection.execute(invitations.insert().values(row))
            enter(connection, note)

    def get(self, ident: str, now: datetime) -> Invitation | None:
        with transaction(self._engine, writes=False) as connection:
            return _open(connection, invitations.c.id == ident, now)

    def for_email(self, email: str, now: datetime) -> Invitation | None:
        """An open invitation to somebody with this address."""
        with transaction(self._engine, writes=False) as connection:
            return _open(connection, and_(invitations.c.email == email, invitations.c.purpose == INVITE), now)

    def accept(
        self, ident: str, now: datetime, made: Person, *, password: str | None = None, subject: str | None = None
    ) -> bool:
        """Uses up an invitation and makes the account; False where it is not open any more.

        Raises InputError, and leaves the invitation open, where somebody has that address already.
        """
        with transaction(self._engine, writes=True) as connection:
            found = _use(connection, ident, now)
            if found is None or found.purpose == RESET:
                return False
            there = _there(connection, found.groups)
            given = Person(made.id, made.name, found.role, now, made.email, settings=made.settings, groups=there)
            if not add_person(connection, given, password, subject):
                raise InputError("there is an account with this e-mail address already; sign in")
            what = "account.setup" if found.purpose == SETUP else "account.join"
            enter(connection, Note(made.id, made.name, what, made.id, {"role": found.role, "by": found.by}))
        return True

    def reset(self, ident: str, now: datetime, password: str) -> str | None:
        """Uses up a link: the person has this password (a hash) and is signed out everywhere; who it is."""
        with transaction(self._engine, writes=True) as connection:
            found = _use(connection, ident, now)
            if found is None or found.purpose != RESET or found.person is None:
                return None
            connection.execute(update(people).where(people.c.id == found.person).values(password=password))
            connection.execute(delete(sessions).where(sessions.c.person == found.person))
            enter(connection, Note(found.person, "", "password.reset", found.person, {"by": found.by}))
            return found.person

    def pending(self, now: datetime) -> list[Invitation]:
        """Open invitations and resets that people made, newest first."""
        still = (invitations.c.used.is_(None), invitations.c.expires > now, invitations.c.purpose != SETUP)
        query = select(invitations).where(*still).order_by(invitations.c.created.desc(), invitations.c.id)
        with transaction(self._engine, writes=False) as connection:
            return [_invitation(row) for row in connection.execute(query)]

    def revoke_by(self, by: Person, ident: str, now: datetime) -> bool:
        """False where there is no such open link; raises Forbidden where it gives more than the person has."""
        with transaction(self._engine, writes=True) as connection:
            which = and_(invitations.c.id == ident, invitations.c.used.is_(None), invitations.c.purpose != SETUP)
            row = connection.execute(select(invitations).where(which)).one_or_none()
            if row is None:
                return False
            check_reach(by, row.role)
            gone = connection.execute(delete(invitations).where(which)).rowcount > 0
            enter(connection, Note(by.id, by.name, "invitation.revoke", row.email or "") if gone else None, now)
        return gone


def _open(connection: Connection, which: Any, now: datetime) -> Invitation | None:
    still = and_(which, invitations.c.used.is_(None), invitations.c.expires > now)
    newest = select(invitations).where(still).order_by(invitations.c.created.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    return None if row is None or (row.purpose == SETUP and admins(connection)) else _invitation(row)


def _use(connection: Connection, ident: str, now: datetime) -> Invitation | None:
    """Takes an open link, which then no other request can take. Two links for a first admin make one."""
    setups = select(invitations.c.id).where(invitations.c.purpose == SETUP).with_for_update()
    connection.execute(setups).all()
    found = _open(connection, invitations.c.id == ident, now)
    if found is None:
        return None
    taken = update(invitations).where(invitations.c.id == ident, invitations.c.used.is_(None)).values(used=now)
    return found if connection.execute(taken).rowcount else None


def _there(connection: Connection, names: Iterable[str]) -> tuple[str, ...]:
    """Those of the groups that have not been deleted since the invitation."""
    query = select(known_groups.c.name).where(known_groups.c.name.in_(list(names)))
    return tuple(connection.execute(query).scalars())


def _invitation(row: Row[Any]) -> Invitation:
    return Invitation(
        row.id, row.purpose, row.role, row.created, row.expires, tuple(json.loads(row.groups)), row.email, row.person,
        row.by, row.used,
    )  # fmt: skip
