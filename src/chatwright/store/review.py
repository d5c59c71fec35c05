"""What operators look at: reported messages, and what people said of answers. Never more than was allowed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Table, func, or_, select, tuple_, update
from sqlalchemy.engine import Connection, Engine

from chatwright.store.audit import Note, enter
from chatwright.store.chats import branch, tree_of
from chatwright.store.consents import logs_of, stands
from chatwright.store.engine import transaction
from chatwright.store.exports import NEW_ACCOUNT
from chatwright.store.people import Person
from chatwright.store.tables import chats, comparisons, flags, messages, people, ratings, signals

KINDS: dict[str, Table] = {"rating": ratings, "comparison": comparisons, "signal": signals}


class Review:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # Reports.

    def flags(self, state: str | None, after: str | None, limit: int) -> list[dict[str, Any]]:
        """Newest first, from behind the id `after`; what they are about is not in it."""
        query = select(flags, people.c.name.label("person_name")).join(people, people.c.id == flags.c.person)
        if state is not None:
            query = query.where(flags.c.state == state)
        with transaction(self._engine, writes=False) as connection:
            rows = _page(connection, query, flags, after, limit)
            return [_flag(row) for row in rows]

    def flag(self, ident: str, by: Person, now: datetime) -> dict[str, Any] | None:
        """A report with the message it is about, and what is above that where the reporter or their consent covers it.

        That somebody looked is in the audit log.
        """
        with transaction(self._engine, writes=True) as connection:
            row = _flag_row(connection, ident)
            if row is None:
                return None
            above, why = _above(connection, row, row.covers == "conversation")
            detail = {"message": row.message, "above": len(above) - 1, "by": why}
            enter(connection, Note(by.id, by.name, "flag.read", ident, detail), now)
            return _flag(row) | {"messages": above, "above_by": why}

    def settle(self, ident: str, state: str, note: str, by: Person, now: datetime) -> dict[str, Any] | None:
        with transaction(self._engine, writes=True) as connection:
            if (row := _flag_row(connection, ident)) is None:
                return None
            values = {"state": state, "note": note, "by": by.id, "settled": now if state == "resolved" else None}
            connection.execute(update(flags).where(flags.c.id == ident).values(values))
            detail = {"from": row.state, "to": state, "note": note}
            enter(connection, Note(by.id, by.name, "flag.settled", ident, detail), now)
            return _flag(_flag_row(connection, ident))

    # Feedback.

    def feedback(
        self, kind: str, *, version: str = "", value: str = "", tag: str = "", consent: bool | None = None,
        after: str | None = None, limit: int = 50,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """What people said, newest first; what it is about is not in it. `value` is -1 or 1 of a rating, the choice of
        a comparison, the kind of a signal."""
        table = KINDS[kind]
        columns = (table, people.c.name.label("person_name"), people.c.created.label("person_created"))
        query = select(*columns).join(people, people.c.id == table.c.person)
        if table is ratings:
            query = query.where(ratings.c.newest, ratings.c.value != 0)
        elif table is comparisons:
            query = query.where(comparisons.c.choice.is_not(None))
        if version:
            known = [table.c.version == version, table.c.model == version]
            if table is comparisons:
                known += [comparisons.c.other_version == version, comparisons.c.other_model == version]
            query = query.where(or_(*known))
        if value:
            said: dict[str, Callable[[], Any]] = {
                "rating": lambda: ratings.c.value == int(value), "comparison": lambda: comparisons.c.choice == value,
                "signal": lambda: signals.c.kind == value,
            }  # fmt: skip
            query = query.where(said[kind]())
        if tag and "tags" in table.c:
            query = query.where(table.c.tags.contains(json.dumps(tag), autoescape=True))
        if consent is not None:
            query = query.where(table.c.consent.is_(consent))
        with transaction(self._engine, writes=False) as connection:
            return [_said(kind, row) for row in _page(connection, query, table, after, limit)]

    def said(self, kind: str, ident: str, by: Person, now: datetime) -> dict[str, Any] | None:
        """One of them with the conversation it is about, where that may be learned from now; else without. Audited."""
        table = KINDS[kind]
        columns = (table, people.c.name.label("person_name"), people.c.created.label("person_created"))
        query = select(*columns).join(people, people.c.id == table.c.person).where(table.c.id == ident)
        with transaction(self._engine, writes=True) as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            shown: list[dict[str, Any]] = []
            if row.consent:
                for one in (row.left, row.right) if table is comparisons else (row.message,):
                    branch_, why = _above(connection, row, False, one)
                    shown += [turn for turn in branch_ if turn not in shown] if why == "consent" else []
            enter(connection, Note(by.id, by.name, "feedback.read", ident, {"messages": len(shown)}), now)
            return _said(kind, row) | {"messages": shown}

    def troubles(self, since: datetime) -> dict[tuple[str, str], int]:
        """Answers in chats that failed or broke off since then, by model and version."""
        m = messages.c
        bad = (m.role == "assistant", m.status.in_(("failed", "interrupted")), m.ended >= since)
        query = select(m.model, m.version, func.count()).where(*bad).group_by(m.model, m.version)
        with transaction(self._engine, writes=False) as connection:
            return {(row[0], row[1]): row[2] for row in connection.execute(query)}


def _page(connection: Connection, query: Any, table: Table, after: str | None, limit: int) -> list[Any]:
    order = (table.c.at, table.c.id)
    query = query.order_by(*(column.desc() for column in order)).limit(limit)
    if after is not None:
        last = connection.execute(select(*order).where(table.c.id == after)).one_or_none()
        if last is None:
            return []
        query = query.where(tuple_(*order) < tuple_(*last))
    return list(connection.execute(query))


def _above(connection: Connection, row: Any, covered: bool, message: str = "") -> tuple[list[dict[str, Any]], str]:
    """The message, behind what is above it where the reporter says so ("flag") or training is allowed ("consent")."""
    tree = tree_of(connection, row.chat)
    path = branch(tree, message or row.message)
    temporary = connection.execute(select(chats.c.temporary).where(chats.c.id == row.chat)).scalar_one()
    log = logs_of(connection, [row.person]).get(row.person, [])
    why = "flag" if covered else ""
    if not why and not temporary and stands(log, row.chat, path[0].created):
        why = "consent"
    shown = path if why else path[-1:]
    return [
        {"id": one.id, "role": one.role, "content": one.content, "created": one.created.isoformat(),
         "model": one.model, "version": one.version, "status": one.status}
        for one in shown
    ], why  # fmt: skip


def _flag_row(connection: Connection, ident: str) -> Any:
    query = select(flags, people.c.name.label("person_name")).join(people, people.c.id == flags.c.person)
    return connection.execute(query.where(flags.c.id == ident)).one_or_none()


def _flag(row: Any) -> dict[str, Any]:
    names = ("id", "message", "model", "version", "reason", "text", "covers", "state", "note", "by", "consent")
    return {name: getattr(row, name) for name in names} | {
        "at": row.at.isoformat(), "settled": row.settled and row.settled.isoformat(),
        "person": {"id": row.person, "name": row.person_name},
    }  # fmt: skip


def _said(kind: str, row: Any) -> dict[str, Any]:
    names = ("id", "model", "version", "prompt_hash", "arm", "consent")
    shown = {name: getattr(row, name) for name in names} | {
        "kind": kind, "at": row.at.isoformat(), "sampling": json.loads(row.sampling),
        "person": {"id": row.person, "name": row.person_name},
        "new_account": row.at - row.person_created < NEW_ACCOUNT,
    }  # fmt: skip
    if kind == "signal":
        return shown | {"message": row.message, "value": row.kind, "count": row.count}
    words = {"tags": json.loads(row.tags), "text": row.text}
    if kind == "rating":
        return shown | words | {"message": row.message, "value": row.value, "number": row.number}
    other = {"other_model": row.other_model, "other_version": row.other_version, "how": row.how}
    return shown | words | other | {"left": row.left, "right": row.right, "value": row.choice}
