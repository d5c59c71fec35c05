"""Chats: trees of messages, links by which they are shared, and what is remembered of a person."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text

from chatwright.store.tables.base import UtcTime, metadata

# `leaf` is the last message of the branch that is shown. `training` is NULL where the chat follows its owner's choice.
# `folded` is the title as it is searched for. A temporary chat is not listed, and goes when it `expires`.
chats = Table(
    "chats",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("owner", String(40), ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
    Column("title", String(200), nullable=False),
    Column("titled", Boolean, nullable=False),
    Column("folded", Text, nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("changed", UtcTime, nullable=False),
    Column("pinned", Boolean, nullable=False),
    Column("archived", Boolean, nullable=False),
    Column("temporary", Boolean, nullable=False),
    Column("expires", UtcTime),
    Column("system", Text, nullable=False),
    Column("model", String(200), nullable=False),
    Column("training", Boolean),
    Column("leaf", String(40)),
    Index(None, "owner", "changed"),
)

# `number` counts the messages of a chat from 1: parents come before their children. `turn` is the name that a page gave
# the request that made the message: the same request again makes no second one. While `status` is "streaming",
# `host` is the gateway that answers and `beat` when it last said so; `stop` asks it to end, and to keep that many
# UTF-16 units. `completion` is the engine's name of the answer. `folded` is the content as it is searched for.
messages = Table(
    "messages",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("chat", String(40), ForeignKey("chats.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("parent", String(40)),
    Column("turn", String(80), nullable=False),
    Column("role", String(20), nullable=False),
    Column("content", Text, nullable=False),
    Column("folded", Text, nullable=False),
    Column("attachments", Text, nullable=False),
    Column("status", String(20), nullable=False),
    Column("model", String(200), nullable=False),
    Column("version", String(200), nullable=False),
    Column("sampling", Text, nullable=False),
    Column("prompt_hash", String(64), nullable=False),
    Column("completion", String(120)),
    Column("detail", Text, nullable=False),
    Column("dropped", Integer, nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("ended", UtcTime),
    Column("host", String(80)),
    Column("beat", UtcTime),
    Column("stop", BigInteger),
    Index(None, "chat", "number"),
    Index(None, "status"),
)

# A link shows the branch that ends in `leaf`, as it was: messages never change. `id` is the hash of its token.
shares = Table(
    "shares",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("chat", String(40), ForeignKey("chats.id", ondelete="CASCADE"), nullable=False),
    Column("leaf", String(40), nullable=False),
    Column("created", UtcTime, nullable=False),
    Index(None, "chat"),
)

memories = Table(
    "memories",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("owner", String(40), ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
    Column("text", Text, nullable=False),
    Column("chat", String(40)),
    Column("created", UtcTime, nullable=False),
    Index(None, "owner"),
)
