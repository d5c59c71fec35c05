"""What people say of answers, what they allow to be learned from it, and what was taken out to learn from.

A rating, flag, signal and comparison carries the facts of its moment: model and version, sampling, prompt, the arm of a
rollout ("" outside of one), time, and whether the person allowed training then. All of them go with their chat.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from chatwright.store.tables.base import UtcTime, metadata


def _who(message: bool = True) -> list[Column[Any]]:
    about = [Column("message", String(40), ForeignKey("messages.id", ondelete="CASCADE"), nullable=False)]
    return [
        Column("person", String(40), ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
        Column("chat", String(40), ForeignKey("chats.id", ondelete="CASCADE"), nullable=False),
        *(about if message else []),
    ]


def _facts() -> list[Column[Any]]:
    return [
        Column("model", String(200), nullable=False),
        Column("version", String(200), nullable=False),
        Column("sampling", Text, nullable=False),
        Column("prompt_hash", String(64), nullable=False),
        Column("arm", String(80), nullable=False),
        Column("at", UtcTime, nullable=False),
        Column("consent", Boolean, nullable=False),
    ]


# A thumb and its reasons. Each change of mind is a row; `newest` marks the one that counts. A value of 0 takes it back.
ratings = Table(
    "ratings",
    metadata,
    Column("id", String(40), primary_key=True),
    *_who(),
    *_facts(),
    Column("number", Integer, nullable=False),
    Column("newest", Boolean, nullable=False),
    Column("value", Integer, nullable=False),
    Column("tags", Text, nullable=False),
    Column("text", Text, nullable=False),
    UniqueConstraint("message", "person", "number"),
    Index(None, "chat"),
    Index(None, "person", "at"),
    Index(None, "at"),
)

# `covers` says what the operator may read: the "message", or the "conversation" above it too.
flags = Table(
    "flags",
    metadata,
    Column("id", String(40), primary_key=True),
    *_who(),
    *_facts(),
    Column("reason", String(40), nullable=False),
    Column("text", Text, nullable=False),
    Column("covers", String(20), nullable=False),
    Column("state", String(20), nullable=False),
    Column("note", Text, nullable=False),
    Column("settled", UtcTime),
    Column("by", String(40)),
    UniqueConstraint("message", "person"),
    Index(None, "chat"),
    Index(None, "person", "at"),
    Index(None, "at"),
)

# What somebody did with an answer; `at` is the first time, `count` how often.
signals = Table(
    "signals",
    metadata,
    Column("id", String(40), primary_key=True),
    *_who(),
    *_facts(),
    Column("kind", String(20), nullable=False),
    Column("count", Integer, nullable=False),
    UniqueConstraint("message", "person", "kind"),
    Index(None, "chat"),
    Index(None, "person", "at"),
    Index(None, "at"),
)

# Two answers to one question, as they stood on the page. `how`: "version" or "sample". The columns of facts are those
# of the left one; `choice` is NULL until it is settled, `at` is then that moment.
comparisons = Table(
    "comparisons",
    metadata,
    Column("id", String(40), primary_key=True),
    *_who(message=False),
    Column("left", String(40), ForeignKey("messages.id", ondelete="CASCADE"), nullable=False, unique=True),
    Column("right", String(40), ForeignKey("messages.id", ondelete="CASCADE"), nullable=False, unique=True),
    *_facts(),
    Column("other_model", String(200), nullable=False),
    Column("other_version", String(200), nullable=False),
    Column("other_sampling", Text, nullable=False),
    Column("how", String(20), nullable=False),
    Column("asked", UtcTime, nullable=False),
    Column("choice", String(20)),
    Column("tags", Text, nullable=False),
    Column("text", Text, nullable=False),
    Index(None, "chat"),
    Index(None, "person", "at"),
    Index(None, "at"),
)

# What a person allowed, and when: only ever added to, and kept when the person goes. `chat` is NULL for the account;
# `training` is NULL where a chat follows the account again. `version` names the wording that was agreed to.
consents = Table(
    "consents",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("person", String(40), nullable=False),
    Column("chat", String(40)),
    Column("training", Boolean),
    Column("version", String(40), nullable=False),
    Column("at", UtcTime, nullable=False),
    Index(None, "person"),
)

# A file of feedback that was written to learn from: what is trained on it names `id` among its parents.
exports = Table(
    "exports",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("filters", Text, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("who", String(200), nullable=False),
    Index(None, "at"),
)

# Which rows stood in it. No foreign keys to what people own: that a row was used is known after it is gone.
exported = Table(
    "exported",
    metadata,
    Column("export", String(40), ForeignKey("exports.id", ondelete="CASCADE"), primary_key=True),
    Column("row", String(80), primary_key=True),
    Column("person", String(40)),
    Column("chat", String(40)),
    Index(None, "person"),
)

# What was taken back after it had been exported: its rows, and the artefacts that had learned from them by then.
withdrawals = Table(
    "withdrawals",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("person", String(40), nullable=False),
    Column("chat", String(40)),
    Column("why", String(40), nullable=False),
    Column("rows", Text, nullable=False),
    Column("artefacts", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    Index(None, "at"),
)
