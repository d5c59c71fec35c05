"""The database: artefacts, their lineage and names (aliases); answers of the API, feedback on them, files; people."""

from chatwright.store.answers import Answer, Answers, Feedback
from chatwright.store.people import LOCAL, People, Person
from chatwright.store.replays import Replay, Replays
from chatwright.store.store import AliasChange, Ancestor, Entry, Store, sqlite_url
from chatwright.store.uploads import Upload, Uploads

__all__ = [
    "LOCAL",
    "AliasChange",
    "Ancestor",
    "Answer",
    "Answers",
    "Entry",
    "Feedback",
    "People",
    "Person",
    "Replay",
    "Replays",
    "Store",
    "Upload",
    "Uploads",
    "sqlite_url",
]  # fmt: skip
