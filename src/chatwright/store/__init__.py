"""The database: artefacts, their lineage, and the names (aliases) by which people call them."""

from chatwright.store.store import AliasChange, Ancestor, Entry, Store, sqlite_url

__all__ = ["AliasChange", "Ancestor", "Entry", "Store", "sqlite_url"]
