"""What is remembered of a person from one chat to the next: sentences that the person sees, edits and deletes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.engine import Engine

from chatwright.store.engine import transaction
from chatwright.store.tables import memories


@dataclass(frozen=True, slots=True)
class Memory:
    id: str
    owner: str
    text: str
    created: datetime
    chat: str | None = None


class Memories:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, memory: Memory) -> None:
        with transaction(self._engine, writes=True) as connection:
            connection.execute(memories.insert().values(asdict(memory)))

    def all(self, owner: str) -> list[Memory]:
        """Oldest first."""
        query = select(memories).where(memories.c.owner == owner).order_by(memories.c.created, memories.c.id)
        with transaction(self._engine, writes=False) as connection:
            return [Memory(row.id, row.owner, row.text, row.created, row.chat) for row in connection.execute(query)]

    def change(self, ident: str, owner: str, text: str) -> bool:
        """False where it is not the owner's."""
        mine = update(memories).where(memories.c.id == ident, memories.c.owner == owner)
        with transaction(self._engine, writes=True) as connection:
            return connection.execute(mine.values(text=text)).rowcount > 0

    def delete(self, ident: str, owner: str) -> bool:
        mine = delete(memories).where(memories.c.id == ident, memories.c.owner == owner)
        with transaction(self._engine, writes=True) as connection:
            return connection.execute(mine).rowcount > 0
