"""What the API gave and took: answers, feedback on them, files, idempotency keys.

`owner` is the id of the person whose it is; NULL in rows from before there were people, which are the operator's.
No foreign key: what somebody said may be kept, without a name, when they go.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text

from chatwright.store.tables.base import UtcTime, metadata

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
    Column("owner", String(40)),
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
    Column("owner", String(40)),
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
    Column("owner", String(40)),
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
    Column("owner", String(40)),
    Index(None, "created"),
)
