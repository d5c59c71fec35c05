"""What operators do with accounts, groups and keys; every change stands in the audit log, or does not happen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, or_, select, tuple_, update
from sqlalchemy.engine import Connection, Engine

from chatwright.errors import InputError
from chatwright.store.engine import insert_for, transaction
from chatwright.store.operator import admins, enter
from chatwright.store.people import LOCAL, Person
from chatwright.store.tables import groups, invitations, keys, memberships, people, sessions

RANKS = ("user", "labeller", "operator", "admin")


class Forbidden(InputError):
    """Somebody may not do this, whatever they send."""


class Staff:
    """Raises Forbidden where the person who acts may not, InputError where what they ask for cannot be."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # People.

    def people(self, after: str | None, limit: int, words: str = "") -> list[dict[str, Any]]:
        """Accounts in order of their making, with their groups, from behind the id `after`."""
        order = (people.c.created, people.c.id)
        query = select(people).order_by(*order).limit(limit)
        if words:
            pattern = f"%{_escaped(words.lower())}%"
            either = (func.lower(people.c.name).like(pattern, escape="\\"), people.c.email.like(pattern, escape="\\"))
            query = query.where(or_(*either))
        with transaction(self._engine, writes=False) as connection:
            if after is not None:
                last = connection.execute(select(*order).where(people.c.id == after)).one_or_none()
                if last is None:
                    return []
                query = query.where(tuple_(*order) > tuple_(*last))  # type: ignore[arg-type]  # values of their types
            rows = connection.execute(query).all()
            return [_person(connection, row) for row in rows]

    def change(
        self, ident: str, by: Person, now: datetime, *, role: str | None = None, disabled: bool | None = None,
        into: Sequence[str] | None = None,
    ) -> dict[str, Any] | None:  # fmt: skip
        """Another role, other groups, no longer let in; None where there is no such person."""
        with transaction(self._engine, writes=True) as connection:
            remaining = [one for one in admins(connection, lock=True) if one != ident]
            row = connection.execute(select(people).where(people.c.id == ident).with_for_update()).one_or_none()
            if row is None:
                return None
            _may(by, row, role)
            losing = row.role == "admin" and not row.disabled and (role not in (None, "admin") or disabled)
            if ident == LOCAL and (role not in (None, "admin") or disabled):
                raise Forbidden("this installation has one person, who may do everything")
            if losing and not remaining:
                raise Forbidden("this is the last admin; make somebody else one first")
            if role is not None and role != row.role:
                _set(connection, ident, by, "person.role", {"role": role}, {"role": row.role}, now)
            if disabled is not None and disabled != row.disabled:
                _set(connection, ident, by, "person.disabled", {"disabled": disabled}, {"disabled": row.disabled}, now)
                if disabled:
                    connection.execute(delete(sessions).where(sessions.c.person == ident))
            if into is not None:
                _join(connection, ident, into, by, now)
            row = connection.execute(select(people).where(people.c.id == ident)).one()
            return _person(connection, row)

    def invite(
        self, ident: str, by: Person, role: str, into: Sequence[str], email: str | None, now: datetime,
        expires: datetime,
    ) -> None:  # fmt: skip
        """Enters a link whose token has the hash `ident`."""
        if role != "user" and by.role != "admin":
            raise Forbidden("only an admin gives another role than user")
        row = {"id": ident, "purpose": "invite", "role": role, "groups": json.dumps(list(into)), "email": email,
               "by": by.id, "created": now, "expires": expires}  # fmt: skip
        with transaction(self._engine, writes=True) as connection:
            _known(connection, into)
            connection.execute(invitations.insert().values(row))
            detail = {"role": role, "groups": list(into), "email": email}
            enter(connection, by, "invitation.made", ident[:12], detail, now)

    # Groups.

    def groups(self) -> list[dict[str, Any]]:
        count = select(func.count()).where(memberships.c.group == groups.c.name).scalar_subquery()
        with transaction(self._engine, writes=False) as connection:
            return [
                {"name": row.name, "about": row.about, "early": row.early, "limits": json.loads(row.limits),
                 "created": row.created.isoformat(), "people": row.people}
                for row in connection.execute(select(groups, count.label("people")).order_by(groups.c.name))
            ]  # fmt: skip

    def put_groups(self, wanted: Sequence[Mapping[str, Any]], by: Person, now: datetime) -> None:
        """Makes the groups be exactly these; who was in one that is gone is in it no more."""
        with transaction(self._engine, writes=True) as connection:
            known = {row.name: row for row in connection.execute(select(groups).with_for_update())}
            for one in wanted:
                values = {"about": one["about"], "early": one["early"], "limits": json.dumps(one["limits"])}
                old = known.pop(one["name"], None)
                if old is None:
                    connection.execute(groups.insert().values(values | {"name": one["name"], "created": now}))
                    enter(connection, by, "group.made", one["name"], values, now)
                elif any(getattr(old, name) != value for name, value in values.items()):
                    connection.execute(update(groups).where(groups.c.name == old.name).values(values))
                    enter(connection, by, "group.changed", old.name, values, now)
            for name in known:
                connection.execute(delete(groups).where(groups.c.name == name))
                enter(connection, by, "group.deleted", name, {}, now)

    # Keys.

    def keys(self) -> list[dict[str, Any]]:
        """Keys that were not revoked, newest first, without what opens anything."""
        columns = (keys.c.id, keys.c.person, people.c.name.label("person_name"), keys.c.name, keys.c.scopes,
                   keys.c.created, keys.c.expires, keys.c.used)  # fmt: skip
        query = select(*columns).join(people, people.c.id == keys.c.person).where(keys.c.revoked.is_(None))
        with transaction(self._engine, writes=False) as connection:
            return [
                {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
                | {"scopes": row["scopes"].split()}
                for row in connection.execute(query.order_by(keys.c.created.desc(), keys.c.id)).mappings()
            ]

    def revoke(self, ident: str, by: Person, now: datetime) -> bool:
        """False where there is no such key that still opens something."""
        which = (keys.c.id == ident, keys.c.revoked.is_(None))
        with transaction(self._engine, writes=True) as connection:
            whose = select(keys.c.person, people.c.role).join(people, people.c.id == keys.c.person)
            row = connection.execute(whose.where(*which)).one_or_none()
            if row is None:
                return False
            _may(by, row, None)
            connection.execute(update(keys).where(*which).values(revoked=now))
            enter(connection, by, "key.revoked", ident, {"person": row.person}, now)
        return True


def _may(by: Person, about: Any, role: str | None) -> None:
    if role is not None and role != about.role and by.role != "admin":
        raise Forbidden("only an admin changes roles")
    if RANKS.index(about.role) > RANKS.index(by.role):
        raise Forbidden(f"this person is {about.role}, which is more than you are")


def _set(
    connection: Connection, ident: str, by: Person, what: str, values: dict[str, Any], before: dict[str, Any],
    now: datetime,
) -> None:  # fmt: skip
    connection.execute(update(people).where(people.c.id == ident).values(values))
    enter(connection, by, what, ident, {"from": before, "to": values}, now)


def _join(connection: Connection, ident: str, names: Sequence[str], by: Person, now: datetime) -> None:
    before = set(_groups_of(connection, ident))
    if before == set(names):
        return
    _known(connection, names)
    connection.execute(delete(memberships).where(memberships.c.person == ident))
    for name in sorted(set(names)):
        row = {"person": ident, "group": name}
        connection.execute(insert_for(connection, memberships, row).on_conflict_do_nothing())
    enter(connection, by, "person.groups", ident, {"from": sorted(before), "to": sorted(set(names))}, now)


def _known(connection: Connection, names: Sequence[str]) -> None:
    there = set(connection.execute(select(groups.c.name)).scalars())
    if missing := [name for name in names if name not in there]:
        raise InputError(f"there is no group {missing[0]!r}")


def _groups_of(connection: Connection, ident: str) -> list[str]:
    query = select(memberships.c.group).where(memberships.c.person == ident).order_by(memberships.c.group)
    return list(connection.execute(query).scalars())


def _person(connection: Connection, row: Any) -> dict[str, Any]:
    return {
        "id": row.id, "name": row.name, "email": row.email, "role": row.role, "disabled": row.disabled,
        "created": row.created.isoformat(), "groups": _groups_of(connection, row.id),
    }  # fmt: skip


def _escaped(words: str) -> str:
    return words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
