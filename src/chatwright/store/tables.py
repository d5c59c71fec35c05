"""The tables. A change here comes with a migration in `migrations/versions`; a test holds the two equal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
"""Constraints have names, so that a later migration can drop them on every database."""

metadata = MetaData(naming_convention=NAMING)


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC. SQLite keeps no zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)


Json = JSON().with_variant(JSONB(), "postgresql")

artefacts = Table(
    "artefacts",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("name", String(200), nullable=False),
    Column("path", Text, nullable=False),
    Column("manifest", Json, nullable=False),
    Column("created", UtcTime, nullable=False),
    Index(None, "created"),
)

# A parent need not be registered: raw files have an id and no row. So only the child is a foreign key.
parents = Table(
    "parents",
    metadata,
    Column("child", String(80), ForeignKey("artefacts.id", ondelete="CASCADE"), primary_key=True),
    Column("role", String(80), primary_key=True),
    Column("parent", String(80), nullable=False),
    Index(None, "parent"),
)

# An aliased artefact cannot be deleted: something serves it.
aliases = Table(
    "aliases",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("artefact", String(80), ForeignKey("artefacts.id", ondelete="RESTRICT"), nullable=False),
)

alias_changes = Table(
    "alias_changes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", String(80), nullable=False),
    Column("old", String(80)),
    Column("new", String(80), nullable=False),
    Column("who", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    Index(None, "name"),
)

# Every answer that was given through the API, so that feedback can name it. `content` is there only where its storing
# was asked for: JSON text of the request, the answer and the metadata (text, since JSONB holds no NUL character).
completions = Table(
    "completions",
    metadata,
    Column("id", String(120), primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("model", String(200), nullable=False),
    Column("version", String(200), nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("prompt_hash", String(64), nullable=False),
    Column("sampling", Text, nullable=False),
    Column("content", Text),
    Index(None, "created"),
)

# What people said of answers: `row` is a records.Rating or records.Comparison as JSON.
feedback = Table(
    "feedback",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("completion", String(120), ForeignKey("completions.id", ondelete="RESTRICT"), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("version", String(200), nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("prompt_hash", String(64), nullable=False),
    Column("sampling", Text, nullable=False),
    Column("consent", Boolean, nullable=False),
    Column("row", Text, nullable=False),
    Index(None, "completion"),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("filename", Text, nullable=False),
    Column("purpose", String(40), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("created", UtcTime, nullable=False),
    Index(None, "created"),
)

# One row for each idempotency key; `status` is NULL while the first request with it is being answered.
replays = Table(
    "replays",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("request", String(64), nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("status", Integer),
    Column("headers", Text),
    Column("body", LargeBinary),
    Index(None, "created"),
)
