"""A file of feedback to learn from: never a row without consent, and what was taken along is kept."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from chatwright.errors import InputError
from chatwright.files import write_jsonl
from chatwright.product.listening.as_records import comparisons_of, ratings_of
from chatwright.records import content_id
from chatwright.store import Store
from chatwright.store.exports import Export

Kind = Literal["comparison", "rating"]


@dataclass(frozen=True, slots=True)
class Written:
    id: str
    rows: int
    left_out: Counter[str]


def export(
    store: Store, kind: Kind, out: Path, now: datetime, who: str, *, since: datetime | None = None, version: str = ""
) -> Written:
    """Writes all that may be learned from to `out`, as JSON lines; each names the export in its meta.

    It is entered in the database before the file is written: what is known to have left may be more than what did,
    never less. Raises InputError, and leaves no file, where nothing is left to write.
    """
    reads = store.exports
    rated, sent = reads.ratings(since, version), reads.sent(kind, since, version)
    if kind == "rating":
        made = ratings_of(rated, sent)
    else:
        made = comparisons_of(reads.comparisons(since, version), rated, sent)
    if not made.records:
        raise InputError(f"there is no {kind} to export{told(made.left_out)}")
    ident = f"export-{content_id([now.isoformat(), sorted(row for row, *_ in made.rows)], 12)}"
    rows = tuple({row[0]: row for row in made.rows}.values())
    filters = {"since": since and since.isoformat(), "version": version}
    store.exports.enter(Export(ident, kind, filters, now, who, rows))
    written = write_jsonl(out, (replace(one, meta=one.meta | {"export": ident}).to_json() for one in made.records))
    return Written(ident, written, made.left_out)


def told(left_out: Counter[str]) -> str:
    """Why rows are not in it, as the end of a sentence."""
    reasons = "; ".join(f"{count}: {why}" for why, count in sorted(left_out.items()))
    return f" ({sum(left_out.values())} left out: {reasons})" if reasons else ""


def moment(text: str) -> datetime:
    """A date or a time with its zone; a date alone begins in UTC."""
    try:
        found = datetime.fromisoformat(text if "T" in text else f"{text}T00:00:00+00:00")
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise InputError(f"--since {text!r} is no date; write 2026-11-22, or a time with its zone")
    return found


def summary(written: Written, out: Path) -> str:
    return json.dumps({"export": written.id, "path": str(out), "rows": written.rows, "left_out": written.left_out})
