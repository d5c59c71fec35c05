"""People: accounts, how they sign in, the groups they are in, their keys; and what was changed by whom."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, String, Table, Text

from chatwright.store.tables.base import UtcTime, metadata

# `email` is lower case; `password` an argon2id hash, NULL where a person signs in elsewhere (`subject`: issuer and
# subject of OpenID Connect). `settings` is JSON text of what the person chose: language, theme, instructions.
people = Table(
    "people",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("email", String(320), unique=True),
    Column("password", Text),
    Column("subject", String(600), unique=True),
    Column("role", String(20), nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("settings", Text, nullable=False),
)

# What a session's cookie or an invitation's link holds is a secret: only its SHA-256 is kept, as `id`.
sessions = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("person", String(40), ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("seen", UtcTime, nullable=False),
    Column("expires", UtcTime, nullable=False),
    Column("agent", String(200), nullable=False),
    Index(None, "person"),
)

# `purpose`: "setup" makes the first admin, "invite" a further account, "reset" a new password for `person`.
invitations = Table(
    "invitations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("purpose", String(20), nullable=False),
    Column("role", String(20), nullable=False),
    Column("groups", Text, nullable=False),
    Column("email", String(320)),
    Column("person", String(40), ForeignKey("people.id", ondelete="CASCADE")),
    Column("by", String(40)),
    Column("created", UtcTime, nullable=False),
    Column("expires", UtcTime, nullable=False),
    Column("used", UtcTime),
)

# A tier is a group: `limits` is JSON text (requests, tokens and streams), `early` opens models that are not out yet.
groups = Table(
    "groups",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("about", Text, nullable=False),
    Column("early", Boolean, nullable=False),
    Column("limits", Text, nullable=False),
    Column("created", UtcTime, nullable=False),
)

memberships = Table(
    "memberships",
    metadata,
    Column("person", String(40), ForeignKey("people.id", ondelete="CASCADE"), primary_key=True),
    Column("group", String(80), ForeignKey("groups.name", ondelete="CASCADE"), primary_key=True),
)

# A key is shown as cw-PREFIX.SECRET once; kept are its prefix, as `id`, and the SHA-256 of its secret.
keys = Table(
    "keys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("person", String(40), ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("scopes", String(200), nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("expires", UtcTime),
    Column("used", UtcTime),
    Column("revoked", UtcTime),
    Column("limits", Text, nullable=False),
    Index(None, "person"),
)

# Attempts to sign in: how many are `left` of a bucket that fills up again. `name` is a hash of an account or address.
attempts = Table(
    "attempts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("left", Float, nullable=False),
    Column("at", UtcTime, nullable=False),
)

# Every change somebody made to somebody else's things, or to how this installation runs. Never deleted,
# and never changed, but that a name or address goes when its person does.
audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", UtcTime, nullable=False),
    Column("who", String(40), nullable=False),
    Column("name", String(200), nullable=False),
    Column("what", String(80), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("detail", Text, nullable=False),
    Index(None, "at"),
)

# What an operator set for this installation: a value of JSON text under each name.
choices = Table(
    "choices",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("value", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("who", String(40), nullable=False),
)
