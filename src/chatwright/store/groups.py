"""Groups of people: a tier with limits of its own, or those who see new models early."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.engine import Connection, Engine

from chatwright.errors import InputError
from chatwright.store.audit import Note, enter
from chatwright.store.engine import transaction
from chatwright.store.tables import groups, memberships

LIMITS = ("requests_per_minute", "tokens_per_minute", "streams")
"""What a group's limits may name. 0 means: as many as they like."""


@dataclass(frozen=True, slots=True)
class Group:
    """`limits` names some of `LIMITS`; `early` opens models that are not out yet."""

    name: str
    created: datetime
    about: str = ""
    early: bool = False
    limits: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """What somebody's groups come to."""

    groups: tuple[str, ...] = ()
    early: bool = False
    limits: dict[str, int] = field(default_factory=dict)


class Groups:
    """The tables of groups and of who is in them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self) -> list[Group]:
        with transaction(self._engine, writes=False) as connection:
            return [_group(row) for row in connection.execute(select(groups).order_by(groups.c.name))]

    def sizes(self) -> dict[str, int]:
        """How many people are in each group that has some."""
        query = select(memberships.c.group, func.count()).group_by(memberships.c.group)
        with transaction(self._engine, writes=False) as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def put_all(self, wanted: Sequence[Group], who: str = "", name: str = "") -> None:
        """Makes the groups be exactly these; who was in one that is gone is in it no more. Each change is audited.

        `who` and `name` are the id and name of the person who does it. Raises InputError for a limit there is not.
        """
        for group in wanted:
            if unknown := set(group.limits) - set(LIMITS):
                raise InputError(f"limits: {min(unknown)!r} is none; there are {', '.join(LIMITS)}")
        with transaction(self._engine, writes=True) as connection:
            known = {row.name: row for row in connection.execute(select(groups).with_for_update())}
            for group in wanted:
                old = known.pop(group.name, None)
                values = {"about": group.about, "early": group.early, "limits": json.dumps(group.limits)}
                if old is None:
                    row = {"name": group.name, "created": group.created, **values}
                    connection.execute(groups.insert().values(row))
                elif any(getattr(old, key) != value for key, value in values.items()):
                    connection.execute(update(groups).where(groups.c.name == group.name).values(values))
                else:
                    continue
                what = "group.made" if old is None else "group.changed"
                enter(connection, Note(who, name, what, group.name, values | {"limits": group.limits}))
            for gone in known:
                connection.execute(delete(groups).where(groups.c.name == gone))
                enter(connection, Note(who, name, "group.deleted", gone))


def standing(connection: Connection, person: str) -> Standing:
    """Where several groups set a limit, the most generous counts."""
    query = select(groups).join(memberships, memberships.c.group == groups.c.name)
    rows = connection.execute(query.where(memberships.c.person == person).order_by(groups.c.name))
    return standing_of([_group(row) for row in rows])


def standing_of(found: Sequence[Group]) -> Standing:
    limits: dict[str, int] = {}
    for name in LIMITS:
        said = [group.limits[name] for group in found if name in group.limits]
        if said:
            limits[name] = 0 if 0 in said else max(said)
    return Standing(tuple(group.name for group in found), any(group.early for group in found), limits)


def join(connection: Connection, person: str, names: Iterable[str]) -> None:
    """Puts somebody in exactly these groups; raises InputError for one that is not there."""
    names = sorted(set(names))
    there = set(connection.execute(select(groups.c.name).where(groups.c.name.in_(names))).scalars())
    if missing := [name for name in names if name not in there]:
        raise InputError(f"there is no group {missing[0]!r}")
    connection.execute(delete(memberships).where(memberships.c.person == person))
    if names:
        connection.execute(memberships.insert(), [{"person": person, "group": name} for name in names])


def _group(row: Row[Any]) -> Group:
    return Group(row.name, row.created, row.about, row.early, json.loads(row.limits))
