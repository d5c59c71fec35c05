"""People: their accounts, and what they chose."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, or_, select, tuple_, update
from sqlalchemy.engine import Connection, Engine

from chatwright.errors import InputError
from chatwright.store.audit import Note, enter
from chatwright.store.chats import stop_all
from chatwright.store.engine import insert_for, transaction
from chatwright.store.groups import join, standing
from chatwright.store.tables import invitations, people, sessions

LOCAL = "local"
"""The id of the one person of an installation without accounts."""
ROLES = ("user", "labeller", "operator", "admin")
"""Each may do what those before it may, and more."""
LAST_ADMIN = "this is the last admin; make somebody else one first"


class Forbidden(InputError):
    """Somebody may not do this, whatever they send."""


@dataclass(frozen=True, slots=True)
class Person:
    """One account. `role` is one of `ROLES`; `settings` is what the person chose.

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

    def page(self, after: str | None = None, limit: int = 50, words: str = "") -> list[Person]:
        """Accounts in order of their making, from behind the id `after`; with `words` in their name or address."""
        order = (people.c.created, people.c.id)
        query = select(people).order_by(*order).limit(limit)
        if words:
            escaped = words.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            either = (func.lower(people.c.name), people.c.email)
            query = query.where(or_(*(column.like(f"%{escaped}%", escape="\\") for column in either)))
        with transaction(self._engine, writes=False) as connection:
            if after is not None:
                last = connection.execute(select(*order).where(people.c.id == after)).one_or_none()
                if last is None:
                    return []
                query = query.where(tuple_(*order) > tuple_(*last))  # type: ignore[arg-type]  # values of their types
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

    def change(self, ident: str, values: Mapping[str, Any], note: Note | None = None) -> Person | None:
        """Sets a person's own `name`, `subject` or `password`; None where there is nobody."""
        if wrong := set(values) - {"name", "subject", "password"}:
            raise ValueError(f"{min(wrong)} is not the person's own to change: see change_by")
        with transaction(self._engine, writes=True) as connection:
            connection.execute(update(people).where(people.c.id == ident).values(dict(values)))
            row = connection.execute(select(people).where(people.c.id == ident)).one_or_none()
            if row is None:
                return None
            enter(connection, note)
            return person_in(connection, row)

    def change_by(
        self, by: Person, ident: str, now: datetime, *, role: str | None = None, disabled: bool | None = None,
        groups: Iterable[str] | None = None,
    ) -> Person | None:  # fmt: skip
        """What an operator changes: another role, other groups, no longer let in; None where there is nobody.

        Each change is in the audit log. Who is no longer let in is signed out, and answers of theirs that are being
        written end. Links that they made, or that set their password, are void then and with another role.
        Raises Forbidden where the person who acts may not, or where nobody would be left who can run this.
        """
        with transaction(self._engine, writes=True) as connection:
            before = admins(connection, lock=True)
            row = connection.execute(select(people).where(people.c.id == ident).with_for_update()).one_or_none()
            if row is None:
                return None
            check_reach(by, row.role, role)
            if ident == LOCAL and (role not in (None, "admin") or disabled):
                raise Forbidden("this installation has one person, who may do everything")
            wanted = {"role": role, "disabled": disabled}
            changed = {name: value for name, value in wanted.items() if value not in (None, getattr(row, name))}
            for name, value in changed.items():
                connection.execute(update(people).where(people.c.id == ident).values({name: value}))
                detail = {"from": getattr(row, name), "to": value}
                enter(connection, Note(by.id, by.name, f"person.{name}", ident, detail), now)
            if before and not admins(connection):
                raise Forbidden(LAST_ADMIN)
            if changed:
                links = or_(invitations.c.by == ident, invitations.c.person == ident)
                connection.execute(delete(invitations).where(links, invitations.c.used.is_(None)))
            if changed.get("disabled"):
                connection.execute(delete(sessions).where(sessions.c.person == ident))
                stop_all(connection, ident)
            if groups is not None:
                _regroup(connection, by, ident, groups, now)
            row = connection.execute(select(people).where(people.c.id == ident)).one()
            return person_in(connection, row)

    def count(self) -> int:
        with transaction(self._engine, writes=False) as connection:
            return connection.execute(select(func.count()).where(people.c.id != LOCAL)).scalar_one()


def check_reach(by: Person, *roles: str | None) -> None:
    """Raises Forbidden where one of the roles, somebody's or one to be given, is more than that of who acts."""
    for role in roles:
        if role is not None and ROLES.index(role) > ROLES.index(by.role):
            raise Forbidden(f"this takes the role {role}, and yours is {by.role}")


def _regroup(connection: Connection, by: Person, ident: str, names: Iterable[str], now: datetime) -> None:
    before, wanted = list(standing(connection, ident).groups), sorted(set(names))
    if before != wanted:
        join(connection, ident, wanted)
        enter(connection, Note(by.id, by.name, "person.groups", ident, {"from": before, "to": wanted}), now)


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
