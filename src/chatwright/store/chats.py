"""Chats: what people and models said, as trees. What is done never changes; another version is a sibling."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, delete, func, or_, select, update
from sqlalchemy.engine import Connection, Engine

from chatwright.store.engine import transaction
from chatwright.store.tables import chats, messages, shares

OPEN = "streaming"
"""The status of an answer that is being written."""
ALL = 2**53
"""More UTF-16 units than any answer has."""


@dataclass(frozen=True, slots=True)
class Chat:
    """`training` is None where the chat follows its owner's choice; `leaf` ends the branch that is shown."""

    id: str
    owner: str
    created: datetime
    changed: datetime
    title: str = ""
    titled: bool = False
    pinned: bool = False
    archived: bool = False
    temporary: bool = False
    expires: datetime | None = None
    system: str = ""
    model: str = ""
    training: bool | None = None
    leaf: str | None = None


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One node of a chat's tree. `turn` is the page's name for the request that made it, `detail` why it ended.

    `status` is "streaming" until it ends as "done", "stopped", "interrupted" or "failed".
    """

    id: str
    chat: str
    parent: str | None
    turn: str
    role: str
    content: str
    created: datetime
    status: str = "done"
    number: int = 0
    attachments: list[dict[str, str]] = field(default_factory=list)
    model: str = ""
    version: str = ""
    sampling: dict[str, Any] = field(default_factory=dict)
    prompt_hash: str = ""
    completion: str | None = None
    detail: str = ""
    dropped: int = 0
    ended: datetime | None = None
    host: str | None = None
    beat: datetime | None = None
    stop: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A chat in which a word was found: in `message`, or in its title."""

    chat: Chat
    message: ChatMessage | None


@dataclass(frozen=True, slots=True)
class Share:
    id: str
    chat: str
    leaf: str
    created: datetime
    title: str = ""


CHAT = tuple(f.name for f in fields(Chat))
MESSAGE = tuple(f.name for f in fields(ChatMessage))


def folded(text: str) -> str:
    """Text as it is compared in a search: without differences of case, width and ligature."""
    return unicodedata.normalize("NFKC", text).casefold()


class Chats:
    """The tables of chats, messages and shares. Everything about a chat is asked with its owner's id."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # Chats.

    def create(self, chat: Chat) -> None:
        with transaction(self._engine, writes=True) as connection:
            connection.execute(chats.insert().values(_chat_row(chat)))

    def get(self, ident: str, owner: str) -> Chat | None:
        """None where there is no such chat, or it is somebody else's."""
        with transaction(self._engine, writes=False) as connection:
            return _chat_of(connection, ident, owner)

    def page(self, owner: str, *, archived: bool, after: Chat | None, limit: int) -> list[Chat]:
        """Pinned chats first, then the others, each newest first; from behind `after`."""
        order = (chats.c.pinned.desc(), chats.c.changed.desc(), chats.c.id.desc())
        query = select(chats).where(
            chats.c.owner == owner, chats.c.archived == archived, chats.c.temporary.is_(False)
        )  # fmt: skip
        if after is not None:
            older = or_(
                chats.c.changed < after.changed, and_(chats.c.changed == after.changed, chats.c.id < after.id)
            )  # fmt: skip
            behind = and_(chats.c.pinned.is_(after.pinned), older)
            query = query.where(or_(behind, chats.c.pinned.is_(False)) if after.pinned else behind)
        with transaction(self._engine, writes=False) as connection:
            return [_chat(row) for row in connection.execute(query.order_by(*order).limit(limit))]

    def change(self, ident: str, owner: str, values: Mapping[str, Any]) -> Chat | None:
        """Sets columns of a chat; None where it is not the owner's."""
        values = dict(values)
        if "title" in values:
            values["folded"] = folded(values["title"])
        with transaction(self._engine, writes=True) as connection:
            connection.execute(_mine(update(chats), ident, owner).values(values))
            return _chat_of(connection, ident, owner)

    def delete(self, owner: str, ident: str | None = None) -> list[str]:
        """Deletes a chat of the owner, or all; the ids of those that went."""
        which = [chats.c.owner == owner] + ([chats.c.id == ident] if ident is not None else [])
        with transaction(self._engine, writes=True) as connection:
            gone = list(connection.execute(select(chats.c.id).where(*which)).scalars())
            connection.execute(delete(chats).where(*which))
        return gone

    def expire(self, now: datetime) -> int:
        """Deletes temporary chats whose time is over; how many."""
        with transaction(self._engine, writes=True) as connection:
            return connection.execute(delete(chats).where(chats.c.expires <= now)).rowcount

    # Messages.

    def tree(self, ident: str) -> list[ChatMessage]:
        """All messages of a chat, parents before children."""
        with transaction(self._engine, writes=False) as connection:
            return tree_of(connection, ident)

    def open(self, ident: str, owner: str) -> tuple[Chat, list[ChatMessage]] | None:
        """A chat of the owner and its messages, as they stand together; None where there is no such chat."""
        with transaction(self._engine, writes=False) as connection:
            chat = _chat_of(connection, ident, owner)
            return None if chat is None else (chat, tree_of(connection, ident))

    def message(self, ident: str, owner: str) -> ChatMessage | None:
        query = select(messages).join(chats, chats.c.id == messages.c.chat)
        with transaction(self._engine, writes=False) as connection:
            row = connection.execute(query.where(messages.c.id == ident, chats.c.owner == owner)).one_or_none()
        return None if row is None else _message(row)

    def add(
        self, chat: Chat, rows: Sequence[ChatMessage], changes: Mapping[str, Any],
        also: Callable[[Connection, list[ChatMessage]], None] = lambda connection, made: None,
    ) -> tuple[list[ChatMessage], bool]:  # fmt: skip
        """Appends messages that belong to one `turn`, sets columns of the chat and does what `also` does with them, in
        one transaction.

        A turn that is there already is left as it is: then its messages come back, and False.
        """
        turn = rows[0].turn
        with transaction(self._engine, writes=True) as connection:
            # The chat's row is written first: on PostgreSQL too, two requests at once then come one after the other.
            connection.execute(update(chats).where(chats.c.id == chat.id).values(changed=rows[0].created))
            known = select(messages).where(messages.c.chat == chat.id, messages.c.turn == turn)
            there = [_message(row) for row in connection.execute(known.order_by(messages.c.number))]
            if there:
                return there, False
            last = connection.execute(
                select(func.max(messages.c.number)).where(messages.c.chat == chat.id)
            ).scalar_one()  # fmt: skip
            made = [_numbered(row, (last or 0) + 1 + index) for index, row in enumerate(rows)]
            connection.execute(messages.insert(), [_message_row(row) for row in made])
            if changes:
                values = dict(changes) | ({"folded": folded(changes["title"])} if "title" in changes else {})
                connection.execute(update(chats).where(chats.c.id == chat.id).values(values))
            also(connection, made)
        return made, True

    def grow(self, texts: Mapping[str, str], host: str, now: datetime) -> dict[str, int | None]:
        """Keeps what the answers of `host` have come to, and says that it still writes them.

        For each answer that is still open: where somebody asked it to stop, how much of it to keep.
        """
        with transaction(self._engine, writes=True) as connection:
            for ident, text in texts.items():
                mine = and_(messages.c.id == ident, messages.c.host == host, messages.c.status == OPEN)
                connection.execute(update(messages).where(mine).values(content=text, beat=now))
            query = select(messages.c.id, messages.c.stop).where(messages.c.host == host, messages.c.status == OPEN)
            return {row.id: row.stop for row in connection.execute(query)}

    def end(self, ident: str, values: Mapping[str, Any], *, opened: bool = True) -> ChatMessage | None:
        """The end of an answer: sets its columns, with `opened` only where it is still open; None where it is gone."""
        which = messages.c.id == ident
        if opened:
            which = and_(which, messages.c.status == OPEN)
        values = dict(values) | ({"folded": folded(values["content"])} if "content" in values else {})
        with transaction(self._engine, writes=True) as connection:
            connection.execute(update(messages).where(which).values(values))
            row = connection.execute(select(messages).where(messages.c.id == ident)).one_or_none()
        return None if row is None else _message(row)

    def ask_stop(self, ident: str, seen: int) -> None:
        """Asks the gateway that writes an answer to end it."""
        with transaction(self._engine, writes=True) as connection:
            which = and_(messages.c.id == ident, messages.c.status == OPEN)
            connection.execute(update(messages).where(which).values(stop=seen))

    def interrupt(self, *, before: datetime, host: str | None = None, detail: str, now: datetime) -> int:
        """Marks open answers that nobody writes any more: last heard of `before`, or those of one `host`; how many."""
        silent = messages.c.host == host if host is not None else messages.c.beat < before
        with transaction(self._engine, writes=True) as connection:
            which = and_(messages.c.status == OPEN, silent)
            rows = connection.execute(select(messages.c.id, messages.c.content).where(which)).all()
            for row in rows:
                values = {"status": "interrupted", "detail": detail, "ended": now, "folded": folded(row.content)}
                connection.execute(update(messages).where(messages.c.id == row.id, which).values(values))
        return len(rows)

    # Searching and sharing.

    def search(self, owner: str, words: str, limit: int) -> list[Found]:
        """Chats whose title or messages contain `words`, newest first; of each the newest message that does."""
        pattern = "%" + folded(words).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        mine = and_(chats.c.owner == owner, chats.c.temporary.is_(False))
        inside = and_(messages.c.chat == chats.c.id, messages.c.folded.like(pattern, escape="\\"))
        newest = select(func.max(messages.c.number)).where(inside).correlate(chats).scalar_subquery()
        query = (
            select(chats, newest.label("hit"))
            .where(mine, or_(chats.c.folded.like(pattern, escape="\\"), newest.is_not(None)))
            .order_by(chats.c.changed.desc(), chats.c.id.desc()).limit(limit)
        )  # fmt: skip
        with transaction(self._engine, writes=False) as connection:
            found = [(_chat(row), row.hit) for row in connection.execute(query)]
            hits = {
                row.chat: _message(row)
                for chat, hit in found
                if hit is not None
                for row in connection.execute(
                    select(messages).where(messages.c.chat == chat.id, messages.c.number == hit)
                )
            }
        return [Found(chat, hits.get(chat.id)) for chat, _ in found]

    def share(self, share: Share) -> None:
        row = {name: getattr(share, name) for name in ("id", "chat", "leaf", "created")}
        with transaction(self._engine, writes=True) as connection:
            connection.execute(shares.insert().values(row))

    def shared(self, ident: str) -> tuple[Share, list[ChatMessage]] | None:
        """What a link shows, and the tree it is a branch of; None where it was revoked."""
        with transaction(self._engine, writes=False) as connection:
            query = select(shares, chats.c.title).join(chats, chats.c.id == shares.c.chat).where(shares.c.id == ident)
            row = connection.execute(query).one_or_none()
            return None if row is None else (Share(*row), tree_of(connection, row.chat))

    def shares(self, owner: str) -> list[Share]:
        query = select(shares, chats.c.title).join(chats, chats.c.id == shares.c.chat).where(chats.c.owner == owner)
        with transaction(self._engine, writes=False) as connection:
            return [Share(*row) for row in connection.execute(query.order_by(shares.c.created.desc()))]

    def unshare(self, ident: str, owner: str) -> bool:
        mine = select(chats.c.id).where(chats.c.owner == owner)
        with transaction(self._engine, writes=True) as connection:
            gone = connection.execute(delete(shares).where(shares.c.id == ident, shares.c.chat.in_(mine)))
            return gone.rowcount > 0


def branch(tree: Iterable[ChatMessage], leaf: str | None) -> list[ChatMessage]:
    """The messages from the root to `leaf`; empty where there is no such message."""
    by_id = {message.id: message for message in tree}
    found: list[ChatMessage] = []
    while leaf is not None and leaf in by_id:
        found.append(by_id[leaf])
        leaf = by_id[leaf].parent
    return found[::-1]


def stop_all(connection: Connection, owner: str) -> None:
    """Asks whichever gateways write answers for somebody to end them, with all that has come."""
    theirs = messages.c.chat.in_(select(chats.c.id).where(chats.c.owner == owner))
    connection.execute(update(messages).where(theirs, messages.c.status == OPEN).values(stop=ALL))


def _mine(statement: Any, ident: str, owner: str) -> Any:
    return statement.where(chats.c.id == ident, chats.c.owner == owner)


def _chat_of(connection: Connection, ident: str, owner: str) -> Chat | None:
    row = connection.execute(_mine(select(chats), ident, owner)).one_or_none()
    return None if row is None else _chat(row)


def tree_of(connection: Connection, chat: str) -> list[ChatMessage]:
    """All messages of a chat, parents before children."""
    query = select(messages).where(messages.c.chat == chat).order_by(messages.c.number)
    return [_message(row) for row in connection.execute(query)]


def _chat(row: Row[Any]) -> Chat:
    return Chat(**{name: getattr(row, name) for name in CHAT})


def _chat_row(chat: Chat) -> dict[str, Any]:
    return {name: getattr(chat, name) for name in CHAT} | {"folded": folded(chat.title)}


def _message(row: Row[Any]) -> ChatMessage:
    values = {name: getattr(row, name) for name in MESSAGE}
    return ChatMessage(
        **values | {"attachments": json.loads(row.attachments), "sampling": json.loads(row.sampling)}
    )  # fmt: skip


def _message_row(message: ChatMessage) -> dict[str, Any]:
    row = {name: getattr(message, name) for name in MESSAGE}
    texts = {"attachments": json.dumps(message.attachments), "sampling": json.dumps(message.sampling)}
    return row | texts | {"folded": folded(message.content)}


def _numbered(message: ChatMessage, number: int) -> ChatMessage:
    return replace(message, number=number)
