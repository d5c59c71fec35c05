"""Artefacts: folders with a content-derived id and a manifest that names where they came from.

An artefact is a folder that holds `manifest.json`. The manifest is written last, atomically, so its presence
says that the folder is whole. While a stage works, its folder has no manifest and holds the state from which a
killed run goes on. The id hashes the kind, the parents, the configuration, the seed and the bytes of every file:
the same work gives the same id on every machine of one kind.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import chatwright
from chatwright.errors import InputError, WorkspaceError
from chatwright.files import write_json
from chatwright.records import content_id

MANIFEST = "manifest.json"
STATE_FOLDER = "state"
"""Where a stage keeps what it needs to resume; removed when the artefact is finished, never part of its id."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an artefact is and where it came from; one JSON file, readable without Chatwright."""

    id: str
    kind: str
    name: str
    parents: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    figures: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    source: str = "human"
    key: str = ""
    code_version: str = ""
    created: str = ""


@dataclass(frozen=True, slots=True)
class Artefact:
    """A finished folder and its manifest."""

    path: Path
    manifest: Manifest

    @property
    def id(self) -> str:
        return self.manifest.id


@cache
def code_version() -> str:
    """Package version and a hash over its Python sources; two runs of equal code carry equal versions."""
    digest = hashlib.sha256()
    root = Path(chatwright.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return f"{chatwright.__version__}+{digest.hexdigest()[:12]}"


def file_hash(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def stage_key(kind: str, config: Mapping[str, Any], parents: Mapping[str, str], seed: int) -> str:
    """Names the folder of a stage before it has run: equal inputs, equal key."""
    return content_id({"kind": kind, "config": config, "parents": parents, "seed": seed}, 12)


def finish(
    out: Path,
    *,
    kind: str,
    name: str,
    parents: Mapping[str, str],
    config: Mapping[str, Any],
    seed: int,
    figures: Mapping[str, Any],
    source: str = "human",
    reports: Collection[str] = (),
) -> Artefact:
    """Hashes every file under `out`, writes the manifest last and returns the artefact.

    Figures and times are recorded but are not part of the id: measuring again does not make another model. For the same
    reason the files named in `reports`, which only repeat them, are hashed but are not part of the id.
    """
    files = {
        str(path.relative_to(out)): file_hash(path)
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != MANIFEST and not _passing(path.relative_to(out))
    }
    identity = {
        "kind": kind, "parents": dict(parents), "config": dict(config), "seed": seed,
        "files": {name: digest for name, digest in files.items() if name not in reports},
    }  # fmt: skip
    manifest = Manifest(
        id=f"{kind}-{content_id(identity, 12)}", kind=kind, name=name, parents=dict(parents), config=dict(config),
        seed=seed, figures=dict(figures), files=files, source=source, key=stage_key(kind, config, parents, seed),
        code_version=code_version(), created=datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip
    write_json(out / MANIFEST, asdict(manifest))
    _remove_tree(out / STATE_FOLDER)
    return Artefact(out, manifest)


def _passing(relative: Path) -> bool:
    """Files that are not part of an artefact: resume state and what a kill left of an unfinished write."""
    return relative.parts[0] == STATE_FOLDER or relative.name.endswith(".tmp")


def _remove_tree(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def load_artefact(path: Path | str) -> Artefact:
    """The artefact in `path`; raises InputError where the folder is none or its work is not finished."""
    path = Path(path)
    try:
        raw = json.loads((path / MANIFEST).read_text("utf-8"))
        return Artefact(path, Manifest(**raw))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{path} holds no {MANIFEST}: it is not an artefact, or the stage that makes it has not finished; "
            "run that stage again to go on, or `chatwright import` a foreign model"
        ) from None
    except (OSError, TypeError, ValueError) as error:
        raise InputError(f"{path / MANIFEST} cannot be read ({error}); build the artefact again") from None


def find_artefact(path: Path) -> Artefact | None:
    """The artefact in `path`, or None where there is no finished one yet."""
    return load_artefact(path) if (path / MANIFEST).exists() else None


class Workspace:
    """A folder of artefacts, owned by one process at a time.

    Use as a context manager: entering takes the lock, and raises WorkspaceError where another process holds it.
    Reading (`artefacts`, `find`) needs no lock.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self._lock: int | None = None

    def __enter__(self) -> Workspace:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise WorkspaceError(f"the workspace {self.root} cannot be written ({error.strerror})") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise WorkspaceError(
                f"another process works in the workspace {self.root}; wait for it, or name another with --workspace"
            ) from None
        self._lock = handle
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def folder(self, kind: str, key: str) -> Path:
        """Where the artefact with these inputs is, or will be."""
        return self.root / "artefacts" / f"{kind}-{key}"

    def artefacts(self) -> list[Artefact]:
        """Every finished artefact, oldest first."""
        found = [load_artefact(path.parent) for path in self.root.glob(f"artefacts/*/{MANIFEST}")]
        return sorted(found, key=lambda a: (a.manifest.created, a.id))

    def find(self, ident: str) -> Artefact:
        """By id, by unambiguous beginning of an id, or by name (the newest of that name)."""
        everything = self.artefacts()
        for matches in (
            [a for a in everything if a.id == ident],
            [a for a in everything if a.manifest.name == ident][-1:],
            [a for a in everything if a.id.startswith(ident)],
        ):
            if len(matches) == 1:
                return matches[0]
            if matches:
                raise InputError(f"{ident!r} could be {', '.join(a.id for a in matches)}; write more of the id")
        raise InputError(f"{self.root} has no artefact {ident!r}; `chatwright models` lists what there is")
