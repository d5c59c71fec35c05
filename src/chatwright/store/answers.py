"""Answers that the API gave, and what people said of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, exists, or_, select, true, tuple_, update
from sqlalchemy.engine import Engine

from chatwright.store.engine import transaction
from chatwright.store.tables import completions, feedback

PAGE = 200
"""Rows read at once while a list is filtered."""

Owners = Sequence[str | None]

BATCH = 5_000
"""Rows deleted at once."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `kind` is OpenAI's object name; `content` (request, answer, metadata) only where it was stored."""

    id: str
    kind: str
    model: str
    version: str
    created: datetime
    prompt_hash: str
    sampling: dict[str, Any]
    content: dict[str, Any] | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Feedback:
    """One thing somebody said of an answer; `row` is a rating or a comparison in the words of `records`."""

    id: str
    completion: str
    kind: str
    version: str
    created: datetime
    prompt_hash: str
    sampling: dict[str, Any]
    consent: bool
    row: dict[str, Any]
    owner: str | None = None


class Answers:
    """The tables of answers and feedback."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, answer: Answer) -> None:
        names = ("id", "kind", "model", "version", "created", "prompt_hash", "owner")
        row = {name: getattr(answer, name) for name in names}
        row |= {"sampling": json.dumps(answer.sampling), "content": _text(answer.content)}
        with transaction(self._engine, writes=True) as connection:
            connection.execute(completions.insert().values(row))

    def get(
        self, ident: str, kind: str | None = None, *, stored: bool = False, owners: Owners | None = None
    ) -> Answer | None:
        """By id; with `kind` only of that kind, with `stored` only where its content is kept, with `owners` theirs."""
        query = select(completions).where(completions.c.id == ident, owned(completions.c.owner, owners))
        if kind is not None:
            query = query.where(completions.c.kind == kind)
        if stored:
            query = query.where(completions.c.content.is_not(None))
        with transaction(self._engine, writes=False) as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _answer(row)

    def find(
        self,
        kind: str,
        *,
        wanted: Callable[[Answer], bool],
        after: str | None,
        limit: int,
        newest_first: bool,
        owners: Owners | None = None,
    ) -> list[Answer]:
        """Stored answers of one kind that are `wanted`, in order of time, from behind the id `after`."""
        order = [completions.c.created, completions.c.id]
        where = [
            completions.c.kind == kind, completions.c.content.is_not(None), owned(completions.c.owner, owners),
        ]  # fmt: skip
        found: list[Answer] = []
        last = self.get(after, kind, owners=owners) if after is not None else None
        if after is not None and last is None:
            return []
        while len(found) < limit:
            query = select(completions).where(*where).limit(PAGE)
            query = query.order_by(*(column.desc() if newest_first else column for column in order))
            if last is not None:
                here = tuple_(*order)
                there = tuple_(last.created, last.id)  # type: ignore[arg-type]  # values of the columns' types
                query = query.where(here < there if newest_first else here > there)
            with transaction(self._engine, writes=False) as connection:
                rows = [_answer(row) for row in connection.execute(query)]
            found += [row for row in rows if wanted(row)]
            if len(rows) < PAGE:
                break
            last = rows[-1]
        return found[:limit]

    def change(self, ident: str, content: Mapping[str, Any] | None) -> None:
        """Keeps other content of an answer, or none: the answer stays known, what was said is gone."""
        with transaction(self._engine, writes=True) as connection:
            connection.execute(update(completions).where(completions.c.id == ident).values(content=_text(content)))

    def forget(self, before: datetime | None, most: int | None) -> int:
        """Deletes answers from before `before`, and all but the newest `most`; how many.

        Only those whose content is not kept and that nobody has said anything of. A batch at a time, so that others
        can write in between.
        """
        unkept = and_(completions.c.content.is_(None), ~exists().where(feedback.c.completion == completions.c.id))
        here = tuple_(completions.c.created, completions.c.id)
        old = [completions.c.created < before] if before is not None else []
        if most is not None:
            order = (completions.c.created.desc(), completions.c.id.desc())
            first = select(completions.c.created, completions.c.id).where(unkept).order_by(*order).offset(most).limit(1)
            with transaction(self._engine, writes=False) as connection:
                row = connection.execute(first).one_or_none()
            old += [here <= (row.created, row.id)] if row is not None else []  # type: ignore[operator]  # as in `find`
        gone = 0
        while old:
            batch = select(completions.c.id).where(unkept, or_(*old)).limit(BATCH)
            with transaction(self._engine, writes=True) as connection:
                deleted = connection.execute(delete(completions).where(completions.c.id.in_(batch))).rowcount
            gone += deleted
            if deleted < BATCH:
                break
        return gone

    def say(self, rows: Sequence[Feedback]) -> None:
        """Enters all of `rows` or none."""
        names = ("id", "completion", "kind", "version", "created", "prompt_hash", "consent", "owner")
        values = [
            {name: getattr(row, name) for name in names}
            | {"sampling": json.dumps(row.sampling), "row": json.dumps(row.row)}
            for row in rows
        ]
        with transaction(self._engine, writes=True) as connection:
            connection.execute(feedback.insert(), values)

    def said(self, completion: str | None = None) -> list[Feedback]:
        """All feedback, or that on one answer, oldest first."""
        query = select(feedback).order_by(feedback.c.created, feedback.c.id)
        if completion is not None:
            query = query.where(feedback.c.completion == completion)
        with transaction(self._engine, writes=False) as connection:
            return [
                Feedback(
                    r.id, r.completion, r.kind, r.version, r.created, r.prompt_hash, json.loads(r.sampling),
                    r.consent, json.loads(r.row), r.owner,
                )
                for r in connection.execute(query)
            ]  # fmt: skip


def owned(column: ColumnElement[Any], owners: Owners | None) -> ColumnElement[bool]:
    """Whether a row is theirs; without `owners` every row is. None among them stands for rows that nobody owns."""
    if owners is None:
        return true()
    named = column.in_([owner for owner in owners if owner is not None])
    return or_(named, column.is_(None)) if None in owners else named


def _answer(row: Row[Any]) -> Answer:
    content = None if row.content is None else json.loads(row.content)
    return Answer(
        row.id,
        row.kind,
        row.model,
        row.version,
        row.created,
        row.prompt_hash,
        json.loads(row.sampling),
        content,
        row.owner,
    )


def _text(content: Mapping[str, Any] | None) -> str | None:
    return None if content is None else json.dumps(content)


def now() -> datetime:
    return datetime.now(UTC)
