"""Reading rows that people bring and writing files that are either whole or absent.

Readers go on past a broken line, name it with file and line, and count it (`Problems`); writers go through a
temporary file, fsync and rename, so that a kill or a full disk leaves the old file or the new one, never half.
"""

from __future__ import annotations

import errno
import gzip
import json
import math
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

from chatwright.errors import InputError, WorkspaceError

SUFFIXES = (".txt", ".jsonl", ".jsonl.gz", ".parquet")
T = TypeVar("T")


@dataclass(slots=True)
class Problems:
    """Rows that could not be used: how many, and the first few by name."""

    count: int = 0
    examples: list[str] = field(default_factory=list)
    keep: int = 20

    def add(self, where: str, why: str) -> None:
        self.count += 1
        if len(self.examples) < self.keep:
            self.examples.append(f"{where}: {why}")


def data_files(paths: Sequence[Path | str]) -> list[Path]:
    """Every readable data file under `paths` (files or folders), sorted; raises InputError where none is."""
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and p.name.endswith(SUFFIXES))
            if not inside:
                raise InputError(
                    f"the folder {path} holds no {', '.join(SUFFIXES)} file; put data there or name another"
                )
            found += inside
        elif not path.exists():
            raise InputError(f"{path} does not exist; check the path")
        elif not path.name.endswith(SUFFIXES):
            raise InputError(f"{path} has an ending Chatwright does not read; use one of {', '.join(SUFFIXES)}")
        else:
            found.append(path)
    return found


def iter_rows(paths: Sequence[Path | str], problems: Problems) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (where, row) for each row of each file; where is "file:line".

    A `.txt` file is one row {"text": ...}; `.jsonl(.gz)` is one object a line; `.parquet` one row a record.
    Broken lines are added to `problems` and skipped. Raises InputError for a file that is not text at all.
    """
    for path in data_files(paths):
        if path.name.endswith(".txt"):
            yield f"{path}:1", {"text": _read_text(path), "meta": {"origin": path.name}}
        elif path.name.endswith(".parquet"):
            yield from _parquet_rows(path)
        else:
            yield from _jsonl_rows(path, problems)


def read_records(
    paths: Sequence[Path | str], parse: Callable[[Mapping[str, Any]], T], problems: Problems
) -> Iterator[T]:
    """`parse` over every row; a row it refuses (InputError) is named in `problems` and skipped."""
    for where, row in iter_rows(paths, problems):
        try:
            yield parse(row)
        except (InputError, TypeError, ValueError) as error:
            problems.add(where, str(error))


def _read_text(path: Path) -> str:
    raw = path.read_bytes()
    if b"\x00" in raw[:4096]:
        raise InputError(f"{path} is a binary file, not text; convert it to UTF-8 text first")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}); convert it to UTF-8 first") from None


def _jsonl_rows(path: Path, problems: Problems) -> Iterator[tuple[str, dict[str, Any]]]:
    opener = gzip.open if path.name.endswith(".gz") else open
    try:
        with opener(path, "rb") as lines:
            if b"\x00" in lines.peek(4096)[:4096]:
                raise InputError(f"{path} is a binary file, not JSON lines; convert it to UTF-8 JSON lines first")
            for number, raw in enumerate(lines, start=1):
                if not raw.strip():
                    continue
                where = f"{path}:{number}"
                try:
                    row = json.loads(raw)
                except (ValueError, RecursionError) as error:
                    problems.add(where, f"not a JSON line ({str(error).split(':')[0]})")
                    continue
                if isinstance(row, dict):
                    yield where, row
                else:
                    problems.add(where, f"a row must be a JSON object, not {type(row).__name__}")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error}); is it damaged?") from None


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        number = 0
        for batch in pq.ParquetFile(path).iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield f"{path}:{number}", row
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is no whole parquet file ({str(error).splitlines()[0]})") from None


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """Turns a full disk, a spent quota or a file-size limit met while writing `path` into a WorkspaceError."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise WorkspaceError(f"{path} cannot be written ({error.strerror}); free some space and go on") from None


@contextmanager
def atomic_writer(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """A file that appears at `path` only when the block ends without an error; safe against a kill.

    Raises WorkspaceError where the disk is full or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be written ({error.strerror}); name another place") from None
    try:
        with full_disk(path), os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    with atomic_writer(path, "w") as out:
        out.write(text)


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(finite(value), ensure_ascii=False, indent=1) + "\n")


def finite(value: Any) -> Any:
    """`value` with None for every number that JSON cannot spell (nan and the infinities)."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return value


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """One object a line, gzipped when the name ends in .gz (without a timestamp, so equal rows give equal bytes)."""
    count = 0
    with atomic_writer(path) as raw:
        out = gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") if path.name.endswith(".gz") else raw
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n")
            count += 1
        if out is not raw:
            out.close()
    return count
