"""A journal of finished work, JSON lines, from which a killed run goes on to the same bits.

Work is done in chunks of rows that depend on nothing outside the chunk but the run's inputs. A chunk that was not
written whole is cut off and done again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chatwright.errors import WorkspaceError
from chatwright.files import full_disk
from chatwright.records import Prompt, content_id
from chatwright.workspace import STATE_FOLDER


def open_journal(out: Path, inputs: Sequence[Any], prompts: Sequence[Prompt], chunk: int) -> Journal:
    """The journal of a run into `out`: a row for each of `prompts`, which all `inputs` decide with them."""
    of = content_id([*inputs, [p.to_json() for p in prompts]])
    return Journal(out / STATE_FOLDER / "journal.jsonl", of=of, total=len(prompts), chunk=chunk)


class Journal:
    """The rows of `path`, of `total` in all, in chunks of `chunk`; `of` names the inputs they came from."""

    def __init__(self, path: Path, *, of: str, total: int, chunk: int) -> None:
        self.path, self.total, self.chunk = path, total, chunk
        self.rows: list[dict[str, Any]] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        head = json.dumps({"of": of}).encode() + b"\n"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        if lines and lines[0].endswith(b"\n") and lines[0] != head:
            raise WorkspaceError(f"{path} was begun with other inputs; remove it to start again")
        whole = [line for line in lines[1:] if line.endswith(b"\n")]
        kept = len(whole) if len(whole) >= total else len(whole) // chunk * chunk
        try:
            self.rows = [json.loads(line) for line in whole[:kept]]
        except ValueError:
            raise WorkspaceError(f"{path} is damaged; remove it to start again") from None
        begun = bool(lines) and lines[0] == head
        with full_disk(path), path.open("ab") as out:
            out.truncate(sum(map(len, [head, *whole[:kept]])) if begun else 0)
            if not begun:
                out.write(head)
            _settle(out)

    @property
    def open_chunks(self) -> list[range]:
        """What is left to do, in order."""
        starts = range(len(self.rows), self.total, self.chunk)
        return [range(at, min(at + self.chunk, self.total)) for at in starts]

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Appends one chunk; it is on disk when this returns."""
        with full_disk(self.path), self.path.open("ab") as out:
            out.writelines(json.dumps(row).encode() + b"\n" for row in rows)
            _settle(out)
        self.rows.extend(dict(row) for row in rows)


def _settle(out: Any) -> None:
    out.flush()
    os.fsync(out.fileno())
