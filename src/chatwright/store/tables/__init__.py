"""The tables. A change here comes with a migration in `migrations/versions`; a test holds the two equal."""

from chatwright.store.tables.api import completions, feedback, replays, uploads
from chatwright.store.tables.artefacts import alias_changes, aliases, artefacts, parents
from chatwright.store.tables.base import metadata
from chatwright.store.tables.chats import chats, memories, messages, shares
from chatwright.store.tables.listening import (
    comparisons,
    consents,
    exported,
    exports,
    flags,
    ratings,
    signals,
    withdrawals,
)
from chatwright.store.tables.people import (
    attempts,
    audit,
    choices,
    groups,
    invitations,
    keys,
    memberships,
    people,
    sessions,
)

__all__ = [
    "alias_changes", "aliases", "artefacts", "attempts", "audit", "chats", "choices", "comparisons", "completions",
    "consents", "exported", "exports", "feedback", "flags", "groups", "invitations", "keys", "memberships",
    "memories", "messages", "metadata", "parents", "people", "ratings", "replays", "sessions", "shares", "signals",
    "uploads", "withdrawals",
]  # fmt: skip
