"""What people allow to be learned from what they say: a log that only grows, and what follows from it.

Nobody has allowed anything until they say so. A yes for the account covers what is said from then on; a yes for a chat
covers all of that chat. A no ends both at once, and a later yes of the account does not reach behind it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.engine import Connection, Engine

from chatwright.store.engine import transaction
from chatwright.store.tables import chats, consents, people


@dataclass(frozen=True, slots=True)
class Consent:
    """One line of the log. `chat` is None for the account; `training` None where a chat follows the account again."""

    person: str
    training: bool | None
    version: str
    at: datetime
    chat: str | None = None


def stands(log: Sequence[Consent], chat: str | None, began: datetime) -> bool:
    """Whether what was said in `chat` since `began` may be learned from now. `log` is one person's, oldest first."""
    own = [line.training for line in log if chat is not None and line.chat == chat]
    if own and own[-1] is not None:
        return own[-1]
    since = None
    for line in reversed([line for line in log if line.chat is None]):
        if not line.training:
            break
        since = line.at
    return since is not None and since <= began


class Consents:
    """The log, and the two places that show its newest line: a person's settings and a chat."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def log(self, person: str) -> list[Consent]:
        """Oldest first."""
        with transaction(self._engine, writes=False) as connection:
            return logs_of(connection, [person]).get(person, [])

    def choose(self, person: str, training: bool, version: str, now: datetime) -> Consent:
        """The account's choice."""
        line = Consent(person, training, version, now)
        with transaction(self._engine, writes=True) as connection:
            mine = people.c.id == person
            kept = connection.execute(select(people.c.settings).where(mine).with_for_update()).scalar_one()
            settings = json.loads(kept) | {"training": training}
            connection.execute(update(people).where(mine).values(settings=json.dumps(settings)))
            connection.execute(consents.insert().values(_row(line)))
        return line

    def choose_for_chat(self, person: str, chat: str, training: bool | None, version: str, now: datetime) -> bool:
        """A chat's own choice; False where the chat is not the person's. The same choice again adds no line."""
        line = Consent(person, training, version, now, chat)
        with transaction(self._engine, writes=True) as connection:
            mine = (chats.c.id == chat, chats.c.owner == person)
            row = connection.execute(select(chats.c.training).where(*mine).with_for_update()).one_or_none()
            if row is not None and row.training != training:
                connection.execute(update(chats).where(*mine).values(training=training))
                connection.execute(consents.insert().values(_row(line)))
        return row is not None


def logs_of(connection: Connection, persons: Sequence[str] | None) -> dict[str, list[Consent]]:
    """The logs of some people, or of all."""
    query = select(consents).order_by(consents.c.id)
    if persons is not None:
        query = query.where(consents.c.person.in_(persons))
    logs: dict[str, list[Consent]] = {}
    for row in connection.execute(query):
        logs.setdefault(row.person, []).append(_consent(row))
    return logs


def allowed(connection: Connection, person: str, chat: str, now: datetime) -> bool:
    """The state at this moment: whether what is said in the chat now may be learned from."""
    if connection.execute(select(chats.c.temporary).where(chats.c.id == chat)).scalar_one_or_none() is not False:
        return False
    return stands(logs_of(connection, [person]).get(person, []), chat, now)


def _row(line: Consent) -> dict[str, Any]:
    names = ("person", "chat", "training", "version", "at")
    return {name: getattr(line, name) for name in names}


def _consent(row: Row[Any]) -> Consent:
    return Consent(row.person, row.training, row.version, row.at, row.chat)
