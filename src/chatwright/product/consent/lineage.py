"""From what somebody said to the models that learned from it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from chatwright.errors import ChatwrightError
from chatwright.store import Store
from chatwright.store.exports import descendants
from chatwright.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Used:
    """An artefact that learned from somebody's rows; whose kind and name are "" where its manifest is gone."""

    id: str
    kind: str = ""
    name: str = ""


class Lineage:
    """Walks the parents of artefacts: those registered in the database, and those in the workspace's folder."""

    def __init__(
        self, store: Store, workspace: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:  # fmt: skip
        self._store, self._workspace, self._clock = store, workspace, clock

    def used(self, person: str, chat: str | None = None) -> list[Used]:
        """Everything that descends from an export with a row of the person's, or of one of their chats."""
        roots = self._store.exports.of(person, chat)
        if not roots:
            return []
        known = {entry.id: Used(entry.id, entry.kind, entry.name) for entry in self._store.artefacts()}
        links = self._store.exports.links()
        try:
            for artefact in Workspace(self._workspace).artefacts():
                known[artefact.id] = Used(artefact.id, artefact.manifest.kind, artefact.manifest.name)
                links[artefact.id] = list(artefact.manifest.parents.values())
        except ChatwrightError as error:
            log.warning("the workspace's artefacts cannot all be read (%s); the registered ones are walked", error)
        return [known.get(ident, Used(ident)) for ident in descendants(links, roots)]

    def take_back(self, person: str, chat: str | None, why: str) -> list[Used]:
        """Notes what had left, for the operator; names what learned from it."""
        used = self.used(person, chat)
        self._store.belongings.take_back(person, chat, why, [one.id for one in used], self._clock())
        return used
