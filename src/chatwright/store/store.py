"""What is asked of the database: register artefacts, walk their lineage, move aliases."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Row, literal, select, update
from sqlalchemy.engine import Engine

from chatwright.errors import InputError
from chatwright.store.answers import Answers
from chatwright.store.attempts import Attempts
from chatwright.store.audit import Audit
from chatwright.store.belongings import Belongings
from chatwright.store.chats import Chats
from chatwright.store.choices import Choices
from chatwright.store.consents import Consents
from chatwright.store.engine import connect, insert_for, migrate, transaction
from chatwright.store.exports import Exports
from chatwright.store.groups import Groups
from chatwright.store.invitations import Invitations
from chatwright.store.keys import Keys
from chatwright.store.listening import Listening
from chatwright.store.memories import Memories
from chatwright.store.people import People
from chatwright.store.replays import Replays
from chatwright.store.review import Review
from chatwright.store.sessions import Sessions
from chatwright.store.tables import alias_changes, aliases, artefacts, parents
from chatwright.store.uploads import Uploads


class Artefact(Protocol):
    """What is asked of a `workspace.Artefact`: its folder, and its `Manifest`."""

    @property
    def path(self) -> Path: ...

    @property
    def manifest(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A registered artefact."""

    id: str
    kind: str
    name: str
    path: str
    manifest: dict[str, Any]
    created: datetime


@dataclass(frozen=True, slots=True)
class Ancestor:
    """One step of a lineage: `child` names `id` as its parent in `role`; `entry` is None for raw inputs."""

    depth: int
    child: str
    role: str
    id: str
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class AliasChange:
    """Who moved an alias from where to where, when and why; `old` is None the first time."""

    name: str
    old: str | None
    new: str
    who: str
    reason: str
    at: datetime


class Store:
    """The database of one installation; safe to use from several processes at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.answers, self.replays, self.people = Answers(engine), Replays(engine), People(engine)
        self.sessions, self.invitations, self.keys = Sessions(engine), Invitations(engine), Keys(engine)
        self.groups, self.attempts = Groups(engine), Attempts(engine)
        self.audit, self.choices = Audit(engine), Choices(engine)
        self.chats, self.memories = Chats(engine), Memories(engine)
        self.listening, self.consents = Listening(engine), Consents(engine)
        self.exports, self.belongings, self.review = Exports(engine), Belongings(engine), Review(engine)

    def uploads(self, folder: Path) -> Uploads:
        """Uploaded files, whose contents lie in `folder`."""
        return Uploads(self._engine, folder)

    @staticmethod
    def open(url: str) -> Store:
        """Connects and migrates to the newest tables; raises ConfigError or WorkspaceError in one sentence."""
        engine = connect(url)
        migrate(engine)
        return Store(engine)

    def close(self) -> None:
        self._engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def register(self, artefact: Artefact) -> None:
        """Records an artefact and its parents. Once more is harmless: path and manifest are brought up to date."""
        manifest = artefact.manifest
        row = {
            "id": manifest.id, "kind": manifest.kind, "name": manifest.name, "path": str(artefact.path.resolve()),
            "manifest": asdict(manifest), "created": _moment(manifest.created),
        }  # fmt: skip
        with transaction(self._engine, writes=True) as connection:
            changed = {key: row[key] for key in ("name", "path", "manifest")}
            connection.execute(
                insert_for(connection, artefacts, row).on_conflict_do_update(index_elements=["id"], set_=changed)
            )
            for role, parent in manifest.parents.items():
                link = {"child": manifest.id, "role": role, "parent": parent}
                connection.execute(insert_for(connection, parents, link).on_conflict_do_nothing())

    def artefacts(self, kind: str | None = None) -> list[Entry]:
        """Every artefact, or those of one kind, oldest first."""
        query = select(artefacts).order_by(artefacts.c.created, artefacts.c.id)
        if kind is not None:
            query = query.where(artefacts.c.kind == kind)
        with transaction(self._engine, writes=False) as connection:
            return [_entry(row) for row in connection.execute(query)]

    def get(self, ident: str) -> Entry:
        """The artefact of exactly this id; raises InputError where there is none."""
        with transaction(self._engine, writes=False) as connection:
            row = connection.execute(select(artefacts).where(artefacts.c.id == ident)).one_or_none()
        if row is None:
            raise InputError(f"there is no artefact {ident!r}; `chatwright models` lists what there is")
        return _entry(row)

    def lineage(self, ident: str) -> list[Ancestor]:
        """Everything `ident` was made from, nearest first, each link once; raises InputError for an unknown id."""
        self.get(ident)
        links = select(
            literal(1).label("depth"), parents.c.child, parents.c.role, parents.c.parent
        ).where(parents.c.child == ident).cte("links", recursive=True)  # fmt: skip
        links = links.union(
            select(links.c.depth + 1, parents.c.child, parents.c.role, parents.c.parent)
            .join(links, parents.c.child == links.c.parent)
            .where(links.c.depth < 1_000)  # ids are hashes of their parents, so only a damaged table has a cycle
        )
        query = (
            select(links, artefacts)
            .outerjoin(artefacts, artefacts.c.id == links.c.parent)
            .order_by(links.c.depth, links.c.child, links.c.role)
        )
        nearest: dict[tuple[str, str], Ancestor] = {}
        with transaction(self._engine, writes=False) as connection:
            for row in connection.execute(query):
                ancestor = Ancestor(row.depth, row.child, row.role, row.parent, _entry(row) if row.id else None)
                nearest.setdefault((row.child, row.role), ancestor)
        return list(nearest.values())

    def set_alias(self, name: str, ident: str, reason: str, who: str = "") -> str | None:
        """Points `name` at the artefact `ident` and journals it in the same transaction; returns the id it left.

        Raises InputError where the artefact is not registered.
        """
        with transaction(self._engine, writes=True) as connection:
            if connection.execute(select(artefacts.c.id).where(artefacts.c.id == ident)).one_or_none() is None:
                raise InputError(f"the alias {name!r} needs a registered artefact, and there is no {ident!r}")
            # Insert first: it makes the row that a second process then waits for, also where there was none.
            row = {"name": name, "artefact": ident}
            insert = insert_for(connection, aliases, row).on_conflict_do_nothing().returning(aliases.c.name)
            inserted = connection.execute(insert).one_or_none() is not None
            at = aliases.c.name == name
            old = None if inserted else connection.scalar(select(aliases.c.artefact).where(at).with_for_update())
            connection.execute(update(aliases).where(at).values(artefact=ident))
            change = {"name": name, "old": old, "new": ident, "who": who, "reason": reason, "at": datetime.now(UTC)}
            connection.execute(alias_changes.insert().values(change))
        return old

    def aliases(self) -> dict[str, str]:
        """The artefact id of every alias, by name."""
        with transaction(self._engine, writes=False) as connection:
            rows = connection.execute(select(aliases).order_by(aliases.c.name))
            return {row.name: row.artefact for row in rows}

    def alias_history(self, name: str) -> list[AliasChange]:
        """Every change of one alias, oldest first."""
        query = select(alias_changes).where(alias_changes.c.name == name).order_by(alias_changes.c.id)
        with transaction(self._engine, writes=False) as connection:
            return [AliasChange(r.name, r.old, r.new, r.who, r.reason, r.at) for r in connection.execute(query)]

    def resolve(self, text: str) -> Entry:
        """By alias, by id, or by unambiguous beginning of an id; raises InputError where none or several fit."""
        with transaction(self._engine, writes=False) as connection:
            aliased = select(artefacts).join(aliases, aliases.c.artefact == artefacts.c.id)
            exact = connection.execute(aliased.where(aliases.c.name == text)).one_or_none()
            begins = artefacts.c.id.startswith(text, autoescape=True)
            query = select(artefacts).where(begins).order_by(artefacts.c.id).limit(6)
            rows = [exact] if exact is not None else list(connection.execute(query))
        for row in rows:
            if row.id == text or len(rows) == 1:
                return _entry(row)
        if rows:
            raise InputError(f"{text!r} could be {', '.join(row.id for row in rows)}; write more of the id")
        raise InputError(f"there is no artefact or alias {text!r}; `chatwright models` lists what there is")


def _entry(row: Row[Any]) -> Entry:
    return Entry(row.id, row.kind, row.name, row.path, row.manifest, row.created)


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise InputError(f"the manifest's time {text!r} is not an ISO 8601 time; build the artefact again") from None


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file."""
    return f"sqlite:///{path.resolve()}"
