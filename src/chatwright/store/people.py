"""People: their accounts, and what they chose."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.engine import Connection, Engine

from chatwright.errors import InputError
from chatwright.store.audit import Note, enter
from chatwright.store.engine import insert_for, transaction
from chatwright.store.groups import join, standing
from chatwright.store.tables import people

LOCAL = "local"
"""The id of the one person of an installation without accounts."""


@dataclass(frozen=True, slots=True)
class Person:
    """One account. `role` is one of "user", "labeller", "operator", "admin"; `settings` is what the person chose.

    `groups` are those they are in; `early` and `limits` are what these come to. `password` says that there is one.
    """

    id: str
    name: str
    role: str
    created: datetime
    email: str | None = None
    disabled: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    early: bool = False
    limits: dict[str, int] = field(default_factory=dict)
    password: bool = False


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
            return person_in(connection, connection.execute(select(people).where(people.c.id == LOCAL)).one())

    def get(self, ident: str) -> Person | None:
        return self._one(people.c.id == ident)[0]

    def by_subject(self, subject: str) -> Person | None:
        """By issuer and subject of OpenID Connect."""
        return self._one(people.c.subject == subject)[0]

    def by_email(self, email: str) -> tuple[Person | None, str | None]:
        """The person with that address (in lower case), and the hash of their password; None, where there is none."""
        return self._one(people.c.email == email)

    def password_of(self, ident: str) -> str | None:
        """The hash of somebody's password; None where they have none."""
        return self._one(people.c.id == ident)[1]

    def _one(self, which: Any) -> tuple[Person | None, str | None]:
        with transaction(self._engine, writes=False) as connection:
            row = connection.execute(select(people).where(which)).one_or_none()
            return (None, None) if row is None else (person_in(connection, row), row.password)

    def all(self) -> list[Person]:
        """Everybody, oldest account first; without the local person."""
        query = select(people).where(people.c.id != LOCAL).order_by(people.c.created, people.c.id)
        with transaction(self._engine, writes=False) as connection:
            return [person_in(connection, row) for row in connection.execute(query).all()]

    def has_admin(self) -> bool:
        """Whether anybody can run this installation: an admin that is not the local person."""
        with transaction(self._engine, writes=False) as connection:
            return bool(admins(connection))

    def create(
        self, person: Person, *, password: str | None = None, subject: str | None = None, note: Note | None = None
    ) -> bool:
        """Makes an account, in the groups of `person`; False where one has its address or subject already."""
        with transaction(self._engine, writes=True) as connection:
            made = add_person(connection, person, password, subject)
            enter(connection, note if made else None)
        return made

    def choose(self, ident: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Keeps some settings of a person beside the others; all of them then."""
        which = people.c.id == ident
        with transaction(self._engine, writes=True) as connection:
            before = connection.execute(select(people.c.settings).where(which).with_for_update()).scalar_one_or_none()
            chosen = json.loads(before or "{}") | dict(settings)
            connection.execute(update(people).where(which).values(settings=json.dumps(chosen)))
        return chosen

    def change(
        self, ident: str, values: Mapping[str, Any], groups: Iterable[str] | None = None, note: Note | None = None
    ) -> Person | None:
        """Sets `name`, `role`, `disabled`, `subject` or `password`, and the groups; None where there is nobody.

        Raises InputError where nobody would be left who can run this installation.
        """
        with transaction(self._engine, writes=True) as connection:
            before = admins(connection, lock=True)
            if values:
                connection.execute(update(people).where(people.c.id == ident).values(dict(values)))
            row = connection.execute(select(people).where(people.c.id == ident)).one_or_none()
            if row is None:
                return None
            if before and not admins(connection):
                raise InputError("this is the last admin; make another person admin first")
            if groups is not None:
                join(connection, ident, groups)
            enter(connection, note)
            return person_in(connection, row)

    def delete(self, ident: str, note: Note | None = None) -> bool:
        """Deletes an account with its sessions, keys, chats and memories; False where there is nobody.

        What the API kept (completions, feedback, files) has owners that need not be there: see `Answers`, `Uploads`.
        Raises InputError where nobody would be left who can run this installation.
        """
        with transaction(self._engine, writes=True) as connection:
            before = admins(connection, lock=True)
            gone = connection.execute(delete(people).where(people.c.id == ident)).rowcount > 0
            if before and not admins(connection):
                raise InputError("this is the last admin; make another person admin first")
            enter(connection, note if gone else None)
        return gone

    def count(self) -> int:
        with transaction(self._engine, writes=False) as connection:
            return connection.execute(select(func.count()).where(people.c.id != LOCAL)).scalar_one()


def admins(connection: Connection, *, lock: bool = False) -> list[str]:
    """Those who can run this installation. With `lock`, whoever changes one of them meanwhile waits."""
    which = (people.c.role == "admin", people.c.disabled.is_(False), people.c.id != LOCAL)
    query = select(people.c.id).where(*which)
    return list(connection.execute(query.with_for_update() if lock else query).scalars())


def add_person(connection: Connection, person: Person, password: str | None, subject: str | None) -> bool:
    row = {
        "id": person.id, "name": person.name, "email": person.email, "password": password, "subject": subject,
        "role": person.role, "disabled": person.disabled, "created": person.created,
        "settings": json.dumps(person.settings),
    }  # fmt: skip
    insert = insert_for(connection, people, row).on_conflict_do_nothing().returning(people.c.id)
    if connection.execute(insert).one_or_none() is None:
        return False
    join(connection, person.id, person.groups)
    return True


def person_in(connection: Connection, row: Row[Any]) -> Person:
    """The person of a row of `people`, with what their groups come to."""
    stands = standing(connection, row.id)
    return Person(
        row.id, row.name, row.role, row.created, row.email, row.disabled, json.loads(row.settings), stands.groups,
        stands.early, stands.limits, row.password is not None,
    )  # fmt: skip
