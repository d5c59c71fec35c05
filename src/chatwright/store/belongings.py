"""All that is kept of one person: how much it is, all of it to take along, and its end."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, LargeBinary, Table, Text, cast, delete, func, literal, or_, select, update
from sqlalchemy.engine import Connection, Engine

from chatwright.store.engine import transaction
from chatwright.store.exports import exported_of
from chatwright.store.people import LAST_ADMIN, Forbidden, admins
from chatwright.store.tables import (
    attempts,
    audit,
    chats,
    comparisons,
    completions,
    consents,
    feedback,
    flags,
    invitations,
    keys,
    memberships,
    memories,
    messages,
    people,
    ratings,
    replays,
    sessions,
    shares,
    signals,
    uploads,
    withdrawals,
)

SECRETS = {"keys": {"hash"}, "sessions": {"id"}, "shares": {"id"}, "people": {"password"}, "messages": {"folded"},
           "chats": {"folded"}}  # fmt: skip
"""Hashes of what opens doors, and what is only there to be searched."""


def _mine(person: str) -> dict[str, tuple[Table, ColumnElement[bool]]]:
    """Every kind of rows that belong to a person, and which of them do."""
    own = select(chats.c.id).where(chats.c.owner == person)
    return {
        "account": (people, people.c.id == person),
        "groups": (memberships, memberships.c.person == person),
        "sessions": (sessions, sessions.c.person == person),
        "keys": (keys, keys.c.person == person),
        "memories": (memories, memories.c.owner == person),
        "chats": (chats, chats.c.owner == person),
        "messages": (messages, messages.c.chat.in_(own)),
        "shares": (shares, shares.c.chat.in_(own)),
        "ratings": (ratings, ratings.c.person == person),
        "flags": (flags, flags.c.person == person),
        "signals": (signals, signals.c.person == person),
        "comparisons": (comparisons, comparisons.c.person == person),
        "consents": (consents, consents.c.person == person),
        "api_answers": (completions, completions.c.owner == person),
        "api_feedback": (feedback, feedback.c.owner == person),
        "files": (uploads, uploads.c.owner == person),
        "withdrawals": (withdrawals, withdrawals.c.person == person),
    }


class Belongings:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def has_password(self, person: str) -> bool:
        query = select(people.c.password.is_not(None)).where(people.c.id == person)
        with transaction(self._engine, writes=False) as connection:
            return bool(connection.execute(query).scalar_one_or_none())

    def sizes(self, person: str) -> dict[str, tuple[int, int]]:
        """Rows of each kind, and the bytes of their texts (of files, of their contents)."""
        found = {}
        with transaction(self._engine, writes=False) as connection:
            for kind, (table, which) in _mine(person).items():
                size = table.c.bytes if table is uploads else _bytes(connection, table)
                row = connection.execute(select(func.count(), func.coalesce(func.sum(size), 0)).where(which)).one()
                found[kind] = (int(row[0]), int(row[1]))
        return found

    def rows(self, person: str, kinds: Sequence[str] | None = None) -> dict[str, list[dict[str, Any]]]:
        """All rows of each kind, without secrets, as they are in the database; times in ISO 8601."""
        found = {}
        with transaction(self._engine, writes=False) as connection:
            for kind, (table, which) in _mine(person).items():
                if kinds is None or kind in kinds:
                    shown = [column for column in table.c if column.name not in SECRETS.get(table.name, ())]
                    query = select(*shown).where(which).order_by(*table.primary_key.columns)
                    found[kind] = [_plain(row) for row in connection.execute(query).mappings()]
        return found

    def take_back(self, person: str, chat: str | None, why: str, artefacts: Sequence[str], now: datetime) -> list[str]:
        """Notes that what had left of a person, or of one chat, must not be learned from again; the rows it names."""
        with transaction(self._engine, writes=True) as connection:
            return _take_back(connection, person, chat, why, artefacts, now)

    def taken_back(self, limit: int = 200) -> list[dict[str, Any]]:
        """What was taken back after it had left, newest first."""
        query = select(withdrawals).order_by(withdrawals.c.at.desc(), withdrawals.c.id.desc()).limit(limit)
        with transaction(self._engine, writes=False) as connection:
            return [
                _plain(row) | {"rows": json.loads(row["rows"]), "artefacts": json.loads(row["artefacts"])}
                for row in connection.execute(query).mappings()
            ]

    def delete(
        self, person: str, artefacts: Sequence[str], now: datetime, buckets: Sequence[str] = ()
    ) -> list[str]:  # fmt: skip
        """The end of an account and all that is its; the ids of its files, whose contents are the caller's to delete.

        `buckets` are the names of its attempts to sign in. What stays: the log of consents and withdrawals and of
        audited changes, under an id that names nobody any more.
        Raises Forbidden where nobody would be left who can run this installation.
        """
        mine = _mine(person)
        with transaction(self._engine, writes=True) as connection:
            if admins(connection, lock=True) == [person]:
                raise Forbidden(LAST_ADMIN)
            _take_back(connection, person, None, "account deleted", artefacts, now)
            _forget_name(connection, person)
            connection.execute(delete(attempts).where(attempts.c.name.in_(buckets)))
            connection.execute(delete(replays).where(replays.c.owner == person))
            files = list(connection.execute(select(uploads.c.id).where(mine["files"][1])).scalars())
            own = select(completions.c.id).where(mine["api_answers"][1])
            connection.execute(delete(feedback).where(mine["api_feedback"][1] | feedback.c.completion.in_(own)))
            for kind in ("api_answers", "files", "account"):
                table, which = mine[kind]
                connection.execute(delete(table).where(which))
        return files


def _forget_name(connection: Connection, person: str) -> None:
    """Takes name and address out of what stays, and away the links that the person made or was sent."""
    connection.execute(update(audit).where(audit.c.who == person).values(name=""))
    links = invitations.c.by == person
    email = connection.execute(select(people.c.email).where(people.c.id == person)).scalar_one_or_none()
    if email is not None:
        links = or_(links, invitations.c.email == email)
        connection.execute(update(audit).where(audit.c.subject == email).values(subject=""))
    connection.execute(delete(invitations).where(links))


def _take_back(
    connection: Connection, person: str, chat: str | None, why: str, artefacts: Sequence[str], now: datetime
) -> list[str]:
    rows = sorted({row for found in exported_of(connection, person, chat).values() for row in found})
    if rows:
        row = {"id": f"w-{secrets.token_hex(12)}", "person": person, "chat": chat, "why": why, "rows": json.dumps(rows),
               "artefacts": json.dumps(list(artefacts)), "at": now}  # fmt: skip
        connection.execute(withdrawals.insert().values(row))
    return rows


def _bytes(connection: Connection, table: Table) -> ColumnElement[int]:
    texts = [column for column in table.c if isinstance(column.type, Text) and column.name != "folded"]
    if connection.dialect.name == "postgresql":
        sizes = [func.coalesce(func.octet_length(column), 0) for column in texts]
    else:
        sizes = [func.coalesce(func.length(cast(column, LargeBinary)), 0) for column in texts]
    total: Any = literal(0)
    for size in sizes:
        total = total + size
    return total


def _plain(row: Any) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
