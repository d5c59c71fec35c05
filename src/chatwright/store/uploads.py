"""Uploaded files: a row in the database, the content in a folder beside it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.engine import Engine

from chatwright.store.answers import Owners, owned
from chatwright.store.engine import transaction
from chatwright.store.tables import uploads


@dataclass(frozen=True, slots=True)
class Upload:
    id: str
    filename: str
    purpose: str
    bytes: int
    sha256: str
    created: datetime
    owner: str | None = None


class Uploads:
    """The rows are the truth: a content without a row, left by a crash, is nobody's file."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine, self.folder = engine, folder

    def content(self, ident: str) -> Path:
        return self.folder / ident

    def add(self, upload: Upload, written: Path) -> None:
        """Takes the finished file `written`, which lies in the same folder."""
        written.replace(self.content(upload.id))
        with transaction(self._engine, writes=True) as connection:
            connection.execute(uploads.insert().values(asdict(upload)))

    def get(self, ident: str, owners: Owners | None = None) -> Upload | None:
        """With `owners` only what is theirs."""
        query = select(uploads).where(uploads.c.id == ident, owned(uploads.c.owner, owners))
        with transaction(self._engine, writes=False) as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else Upload(*row)

    def all(
        self, purpose: str | None = None, *, newest_first: bool = True, owners: Owners | None = None
    ) -> list[Upload]:
        order = (uploads.c.created, uploads.c.id)
        query = select(uploads).order_by(*(column.desc() if newest_first else column for column in order))
        query = query.where(owned(uploads.c.owner, owners))
        if purpose is not None:
            query = query.where(uploads.c.purpose == purpose)
        with transaction(self._engine, writes=False) as connection:
            return [Upload(*row) for row in connection.execute(query)]

    def delete(self, ident: str) -> bool:
        """False where there is no such file."""
        with transaction(self._engine, writes=True) as connection:
            gone = connection.execute(delete(uploads).where(uploads.c.id == ident)).rowcount > 0
        if gone:
            self.content(ident).unlink(missing_ok=True)
        return gone
