"""The database: artefacts, their lineage and names (aliases); answers of the API, feedback on them, files; people."""

from chatwright.store.answers import Answer, Answers, Feedback
from chatwright.store.attempts import Attempts, Pace
from chatwright.store.audit import Audit, Note, Noted
from chatwright.store.choices import Choices
from chatwright.store.groups import Group, Groups
from chatwright.store.invitations import Invitation, Invitations
from chatwright.store.keys import Key, Keys
from chatwright.store.people import LOCAL, People, Person
from chatwright.store.replays import Replay, Replays
from chatwright.store.sessions import Session, Sessions
from chatwright.store.store import AliasChange, Ancestor, Entry, Store, sqlite_url
from chatwright.store.uploads import Upload, Uploads

__all__ = [
    "LOCAL",
    "AliasChange",
    "Ancestor",
    "Answer",
    "Answers",
    "Attempts",
    "Audit",
    "Choices",
    "Entry",
    "Feedback",
    "Group",
    "Groups",
    "Invitation",
    "Invitations",
    "Key",
    "Keys",
    "Note",
    "Noted",
    "Pace",
    "People",
    "Person",
    "Replay",
    "Replays",
    "Session",
    "Sessions",
    "Store",
    "Upload",
    "Uploads",
    "sqlite_url",
]
