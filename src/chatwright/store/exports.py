"""Feedback on its way into training: what was said with the conversation it is about, and which file took it along."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, or_, select
from sqlalchemy.engine import Connection, Engine

from chatwright.store.chats import ChatMessage, branch, tree_of
from chatwright.store.consents import Consent, logs_of, stands
from chatwright.store.engine import transaction
from chatwright.store.tables import chats, comparisons, exported, exports, feedback, parents, people, ratings

NEW_ACCOUNT = timedelta(days=1)
"""Who said something sooner after making an account is somebody of whom nothing is known yet."""
NOT_THEN = "training was not allowed when it was said"
NOT_NOW = "training is not allowed now, or not of how the conversation began"


@dataclass(frozen=True, slots=True)
class Said:
    """A settled comparison (`answers`: left, right) or a rating (one answer), with what it is about.

    `why_not` says why nothing may be learned from it; "" where that is allowed. `asked` ends with the question.
    """

    id: str
    person: str
    chat: str
    at: datetime
    arm: str
    prompt_hash: str
    how: str
    value: str
    tags: tuple[str, ...]
    text: str
    system: str
    asked: tuple[ChatMessage, ...]
    answers: tuple[ChatMessage, ...]
    new_account: bool
    why_not: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What came through the API: `row` is a record as JSON already."""

    id: str
    person: str | None
    version: str
    at: datetime
    prompt_hash: str
    sampling: dict[str, Any]
    row: dict[str, Any]
    why_not: str


@dataclass(frozen=True, slots=True)
class Export:
    """One file that was written. `rows`: (row, person, chat)."""

    id: str
    kind: str
    filters: dict[str, Any]
    at: datetime
    who: str
    rows: tuple[tuple[str, str | None, str | None], ...]


class Exports:
    """Reads what was said, and keeps which rows left in which file."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def comparisons(self, since: datetime | None = None, version: str = "") -> list[Said]:
        """Those that are settled, oldest first. `version` is the name or id of either side's model."""
        c = comparisons.c
        query = _chosen(select(comparisons).where(c.choice.is_not(None)), comparisons, since)
        if version:
            query = query.where(or_(*(column == version for column in (
                c.version, c.other_version, c.model, c.other_model
            ))))  # fmt: skip
        with transaction(self._engine, writes=False) as connection:
            found = connection.execute(query).all()
            return _said(connection, found, lambda row: (row.left, row.right), lambda row: (row.how, row.choice))

    def ratings(self, since: datetime | None = None, version: str = "") -> list[Said]:
        """Those that count and were not taken back, oldest first."""
        query = _chosen(select(ratings).where(ratings.c.newest, ratings.c.value != 0), ratings, since)
        if version:
            query = query.where(or_(ratings.c.version == version, ratings.c.model == version))
        with transaction(self._engine, writes=False) as connection:
            found = connection.execute(query).all()
            return _said(connection, found, lambda row: (row.message,), lambda row: ("", str(row.value)))

    def sent(self, kind: str, since: datetime | None = None, version: str = "") -> list[Sent]:
        """What came through the API, oldest first; whoever sent it said of each row whether it may be learned from."""
        query = _chosen(select(feedback).where(feedback.c.kind == kind), feedback, since, feedback.c.created)
        if version:
            query = query.where(feedback.c.version == version)
        with transaction(self._engine, writes=False) as connection:
            logs = logs_of(connection, None)
            return [
                Sent(
                    row.id, row.owner, row.version, row.created, row.prompt_hash, json.loads(row.sampling),
                    json.loads(row.row), _sent_why_not(row, logs.get(row.owner or "", [])),
                )
                for row in connection.execute(query)
            ]  # fmt: skip

    def enter(self, export: Export) -> None:
        row = {"id": export.id, "kind": export.kind, "filters": json.dumps(export.filters), "at": export.at,
               "who": export.who, "rows": len(export.rows)}  # fmt: skip
        with transaction(self._engine, writes=True) as connection:
            connection.execute(exports.insert().values(row))
            values = [
                {"export": export.id, "row": ident, "person": person, "chat": chat}
                for ident, person, chat in export.rows
            ]
            connection.execute(exported.insert(), values)

    def of(self, person: str, chat: str | None = None) -> dict[str, list[str]]:
        """The rows of a person, or of one chat, that have left, by export."""
        with transaction(self._engine, writes=False) as connection:
            return exported_of(connection, person, chat)

    def links(self) -> dict[str, list[str]]:
        """The parents of every registered artefact."""
        found: dict[str, list[str]] = {}
        with transaction(self._engine, writes=False) as connection:
            for row in connection.execute(select(parents)):
                found.setdefault(row.child, []).append(row.parent)
        return found


def exported_of(connection: Connection, person: str, chat: str | None) -> dict[str, list[str]]:
    query = select(exported).where(exported.c.person == person).order_by(exported.c.row)
    if chat is not None:
        query = query.where(exported.c.chat == chat)
    found: dict[str, list[str]] = {}
    for row in connection.execute(query):
        found.setdefault(row.export, []).append(row.row)
    return found


def descendants(links: Mapping[str, Iterable[str]], roots: Iterable[str]) -> list[str]:
    """All that was made from `roots`, and what was made from that, sorted. `links`: a thing's parents."""
    children: dict[str, set[str]] = {}
    for child, named in links.items():
        for parent in named:
            children.setdefault(parent, set()).add(child)
    waiting, found = list(roots), set[str]()
    while waiting:
        fresh = children.get(waiting.pop(), set()) - found
        found |= fresh
        waiting += fresh
    return sorted(found)


def _chosen(query: Select[Any], table: Any, since: datetime | None, at: Any = None) -> Select[Any]:
    at = table.c.at if at is None else at
    query = query.order_by(at, table.c.id)
    return query if since is None else query.where(at >= since)


def _said(connection: Connection, rows: Sequence[Row[Any]], answers: Any, said: Any) -> list[Said]:
    """`answers(row)` names the messages it is about, `said(row)` gives (how, value)."""
    logs = logs_of(connection, sorted({row.person for row in rows}))
    whose = {row.id: row.created for row in connection.execute(select(people.c.id, people.c.created))}
    about = {row.id: row for row in connection.execute(select(chats.c.id, chats.c.system, chats.c.temporary))}
    trees: dict[str, list[ChatMessage]] = {}
    left = Counter(row.chat for row in rows)
    found = []
    for row in rows:
        tree = trees.setdefault(row.chat, []) or tree_of(connection, row.chat)
        trees[row.chat] = tree
        by_id = {message.id: message for message in tree}
        ended = tuple(by_id[ident] for ident in answers(row))
        asked = tuple(branch(tree, ended[0].parent))
        how, value = said(row)
        chat = about[row.chat]
        found.append(Said(
            row.id, row.person, row.chat, row.at, row.arm, row.prompt_hash, how, value, tuple(json.loads(row.tags)),
            row.text, chat.system, asked, ended, row.at - whose[row.person] < NEW_ACCOUNT,
            _why_not(row, chat.temporary, logs.get(row.person, []), asked[0].created if asked else row.at),
        ))  # fmt: skip
        left[row.chat] -= 1
        if not left[row.chat]:
            del trees[row.chat]  # a chat's tree is kept for as long as rows are about it
    return found


def _why_not(row: Row[Any], temporary: bool, log: Sequence[Consent], began: datetime) -> str:
    if not row.consent:
        return NOT_THEN
    return "" if not temporary and stands(log, row.chat, began) else NOT_NOW


def _sent_why_not(row: Row[Any], log: Sequence[Consent]) -> str:
    if not row.consent:
        return NOT_THEN
    taken_back = any(line.chat is None and not line.training and line.at > row.created for line in log)
    return NOT_NOW if taken_back else ""
