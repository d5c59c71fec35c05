"""What people say of the answers in their chats: ratings, flags, signals, and which of two answers is better."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Table, func, literal, select, union_all, update
from sqlalchemy.engine import Connection, Engine

from chatwright.errors import ChatwrightError
from chatwright.store.chats import ChatMessage
from chatwright.store.consents import allowed
from chatwright.store.engine import insert_for, transaction
from chatwright.store.tables import comparisons, flags, messages, people, ratings, signals

Side = Literal["left", "right"]
WINDOW = timedelta(minutes=1)


class TooMany(ChatwrightError):
    """Somebody says more in a minute than they may."""


@dataclass(frozen=True, slots=True)
class Rated:
    value: int
    tags: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """Where an answer stood beside another, and what came of it (None: not settled yet)."""

    id: str
    side: Side
    settled: str | None


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known of one message beside its text."""

    rating: Rated | None = None
    flagged: bool = False
    comparison: Compared | None = None

    @property
    def hidden(self) -> bool:
        """Whether nothing may tell which model wrote it."""
        return self.comparison is not None and self.comparison.settled is None


PLAIN = Mark()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two answers side by side; `choice` is None until it is settled."""

    id: str
    chat: str
    left: str
    right: str
    how: str
    asked: datetime
    choice: str | None
    tags: tuple[str, ...]
    text: str


class Listening:
    """The tables of what was said. Everything is asked with the id of the person whose it is."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def rate(self, person: str, about: ChatMessage, said: Rated, now: datetime, most: int) -> Rated:
        """Says something else of a message than before; the same again changes nothing.

        Raises TooMany beyond `most` changes in a minute.
        """
        which = (ratings.c.message == about.id, ratings.c.person == person)
        with transaction(self._engine, writes=True) as connection:
            _one_at_a_time(connection, person)
            newest = select(ratings).where(*which, ratings.c.newest)
            row = connection.execute(newest).one_or_none()
            before = Rated(0) if row is None else Rated(row.value, tuple(json.loads(row.tags)), row.text)
            if before == said:
                return said
            _leave_room(connection, ratings, person, now, most)
            connection.execute(update(ratings).where(*which, ratings.c.newest).values(newest=False))
            values = {"value": said.value, "tags": json.dumps(said.tags), "text": said.text}
            number = 1 if row is None else row.number + 1
            facts = _facts(connection, person, about, now)
            made = {"id": f"r-{secrets.token_hex(12)}", "number": number, "newest": True}
            connection.execute(ratings.insert().values(facts | made | values))
        return said

    def flag(
        self, person: str, about: ChatMessage, reason: str, text: str, covers: str, now: datetime, most: int
    ) -> str:  # fmt: skip
        """Reports a message to the operator; its id. Once more says it anew and opens it again."""
        with transaction(self._engine, writes=True) as connection:
            _one_at_a_time(connection, person)
            _leave_room(connection, flags, person, now, most)
            said = {"reason": reason, "text": text, "covers": covers, "state": "open", "at": now}
            row = _facts(connection, person, about, now) | said
            row |= {"id": f"f-{secrets.token_hex(12)}", "note": "", "settled": None, "by": None}
            insert = insert_for(connection, flags, row).on_conflict_do_update(
                index_elements=["message", "person"], set_=said
            )
            return connection.execute(insert.returning(flags.c.id)).scalar_one()

    def signal(self, person: str, about: ChatMessage, kind: str, now: datetime, most: int | None = None) -> None:
        """Notes that somebody did something with a message; at most `most` new ones in a minute."""
        with transaction(self._engine, writes=True) as connection:
            if most is not None:
                _one_at_a_time(connection, person)
                _leave_room(connection, signals, person, now, most)
            if connection.execute(select(messages.c.id).where(messages.c.id == about.id)).one_or_none() is None:
                return  # its chat was deleted meanwhile
            row = _facts(connection, person, about, now)
            row |= {"id": f"s-{secrets.token_hex(12)}", "kind": kind, "count": 1}
            connection.execute(
                insert_for(connection, signals, row).on_conflict_do_update(
                    index_elements=["message", "person", "kind"], set_={"count": signals.c.count + 1}
                )
            )

    # Side by side.

    def settle(
        self, ident: str, person: str, choice: str, tags: Sequence[str], text: str, now: datetime, most: int
    ) -> Comparison | None:  # fmt: skip
        """Says which answer is better. None where there is no such comparison of the person's.

        What was settled stays: then the comparison comes back as it is, with tags and text renewed where the choice is
        the same.
        """
        which = (comparisons.c.id == ident, comparisons.c.person == person)
        with transaction(self._engine, writes=True) as connection:
            _one_at_a_time(connection, person)
            row = connection.execute(select(comparisons).where(*which)).one_or_none()
            if row is not None and row.choice in (None, choice):
                values: dict[str, Any] = {"tags": json.dumps(list(tags)), "text": text}
                if row.choice is None:
                    _leave_room(connection, comparisons, person, now, most)
                    consent = allowed(connection, person, row.chat, now)
                    values |= {"choice": choice, "at": now, "consent": consent}
                connection.execute(update(comparisons).where(*which).values(values))
                row = connection.execute(select(comparisons).where(*which)).one()
        return None if row is None else _comparison(row)

    def comparison(self, ident: str, person: str) -> Comparison | None:
        query = select(comparisons).where(comparisons.c.id == ident, comparisons.c.person == person)
        with transaction(self._engine, writes=False) as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _comparison(row)

    def marks(self, chat: str) -> dict[str, Mark]:
        """What was said of the messages of a chat, by message; those of which nothing was said are left out."""
        found: dict[str, Mark] = {}
        with transaction(self._engine, writes=False) as connection:
            for row in connection.execute(_marks_query(chat)):
                mark = found.get(row.message, PLAIN)
                rating, flagged, comparison = mark.rating, mark.flagged, mark.comparison
                if row.kind == "rating":
                    rating = Rated(row.value, tuple(json.loads(row.tags)), row.text)
                elif row.kind == "flag":
                    flagged = True
                else:
                    comparison = Compared(row.tags, row.kind, row.text or None)
                found[row.message] = Mark(rating, flagged, comparison)
        return found


def add_comparison(
    connection: Connection, person: str, left: ChatMessage, right: ChatMessage, how: str, now: datetime
) -> None:
    """Notes, in the transaction that adds the two answers, that they stand side by side."""
    other = {"other_model": right.model, "other_version": right.version, "other_sampling": json.dumps(right.sampling)}
    row = _facts(connection, person, left, now)
    del row["message"]
    row |= other | {"id": f"cmp-{secrets.token_hex(12)}", "left": left.id, "right": right.id, "how": how}
    connection.execute(comparisons.insert().values(row | {"asked": now, "tags": "[]", "text": "", "choice": None}))


def _marks_query(chat: str) -> Any:
    def rows(table: Table, message: Any, kind: str, *said: Any) -> Any:
        columns = [column.label(name) for column, name in zip(said, ("value", "tags", "text"), strict=True)]
        return select(message.label("message"), literal(kind).label("kind"), *columns).where(table.c.chat == chat)

    none, settled = literal(0), func.coalesce(comparisons.c.choice, "")
    r, c = ratings.c, comparisons.c
    return union_all(
        rows(ratings, r.message, "rating", r.value, r.tags, r.text).where(r.newest, r.value != 0),
        rows(flags, flags.c.message, "flag", none, literal(""), literal("")),
        rows(comparisons, c.left, "left", none, c.id, settled),
        rows(comparisons, c.right, "right", none, c.id, settled),
    )


def _facts(connection: Connection, person: str, about: ChatMessage, now: datetime) -> dict[str, Any]:
    return {
        "person": person, "chat": about.chat, "message": about.id, "model": about.model, "version": about.version,
        "sampling": json.dumps(about.sampling), "prompt_hash": about.prompt_hash, "arm": "", "at": now,
        "consent": allowed(connection, person, about.chat, now),
    }  # fmt: skip


def _one_at_a_time(connection: Connection, person: str) -> None:
    """What one person says in two tabs is entered one after the other; SQLite's write lock does that by itself."""
    connection.execute(select(people.c.id).where(people.c.id == person).with_for_update())


def _leave_room(connection: Connection, table: Table, person: str, now: datetime, most: int) -> None:
    recent = select(func.count()).where(table.c.person == person, table.c.at > now - WINDOW)
    if table is comparisons:
        recent = recent.where(comparisons.c.choice.is_not(None))
    if connection.execute(recent).scalar_one() >= most:
        raise TooMany(f"that is more than {most} in a minute; wait a little")


def _comparison(row: Any) -> Comparison:
    return Comparison(
        row.id, row.chat, row.left, row.right, row.how, row.asked, row.choice, tuple(json.loads(row.tags)), row.text
    )
