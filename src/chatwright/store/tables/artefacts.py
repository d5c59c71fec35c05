"""Artefacts, what they were made from, and the names that point at them."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, String, Table, Text

from chatwright.store.tables.base import Json, UtcTime, metadata

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
