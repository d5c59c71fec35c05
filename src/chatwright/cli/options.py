"""What the verbs share: their options, and how a run is opened and its result told."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from chatwright.cycle.run import Run
    from chatwright.settings import Settings
    from chatwright.workspace import Artefact, Workspace

Data = Annotated[list[Path], typer.Argument(help="Folders or .txt, .jsonl, .jsonl.gz, .parquet files.")]
Where = Annotated[Path, typer.Option("--workspace", "-w", help="Folder that holds all artefacts.")]
Preset = Annotated[str, typer.Option(help="starter, laptop, gpu, cluster or tiny.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="A setting, as section.key=value; may be repeated.")]
Toml = Annotated[Path | None, typer.Option("--config", help="Settings as a TOML file.")]
Seed = Annotated[int | None, typer.Option(help="Seed of everything random; 1 where no setting says otherwise.")]
Port = Annotated[int | None, typer.Option(help="Port on this machine; 8600 where no setting says otherwise.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]

WORKSPACE = Path(".chatwright")


class EndedEarly(Exception):
    """Ctrl-C ended a verb that has told its result all the same: exit code 130, nothing more to say."""


def settings_of(
    preset: str, toml: Path | None, overrides: list[str] | None, *, seed: int | None = None, port: int | None = None
) -> Settings:
    """The settings of a verb; options that were not given leave the file and the environment their say."""
    from chatwright.settings import load_settings

    given = {"seed": seed, "serve.port": port}
    options = [f"{name}={value}" for name, value in given.items() if value is not None]
    return load_settings(preset, toml=toml, overrides=[*(overrides or []), *options])


@contextmanager
def open_run(settings: Settings, workspace: Path) -> Iterator[Run]:
    """A run with the workspace locked, bars on standard error, threads and ranks set up.

    Under torchrun every rank gets the same run; only the first holds the lock and shows progress.
    """
    from chatwright.machine import use_threads

    use_threads(settings.machine.threads)
    from contextlib import nullcontext

    from chatwright.cycle.run import Run
    from chatwright.progress import Progress
    from chatwright.train.distributed import World
    from chatwright.workspace import Workspace

    with World.start(settings.machine.sharding) as world:
        space = Workspace(workspace)
        with space if world.main else nullcontext(), \
             Progress(workspace, terminal=True) if world.main else Progress() as progress:  # fmt: skip
            yield Run(settings, space, progress, world)


def find(workspace: Workspace, name: str, *kinds: str) -> Artefact:
    """An artefact by path, id, beginning of an id, name or alias; raises InputError where it is of another kind."""
    from chatwright.errors import InputError
    from chatwright.workspace import MANIFEST, load_artefact

    path = Path(name)
    # A bare word is a name in the workspace, even where a folder of data happens to be called so.
    is_path = path.is_dir() and ((path / MANIFEST).exists() or path.name != name)
    artefact = load_artefact(path) if is_path else workspace.find(_alias(workspace, name))
    if kinds and artefact.manifest.kind not in kinds:
        raise InputError(f"{name} is a {artefact.manifest.kind}, but a {' or '.join(kinds)} is needed here")
    return artefact


def _alias(workspace: Workspace, name: str) -> str:
    from chatwright.store import Store, sqlite_url

    database = workspace.root / "chatwright.db"
    if not database.exists():
        return name
    with Store.open(sqlite_url(database)) as store:
        return store.aliases().get(name, name)


def register(run: Run, artefact: Artefact, *, alias: str = "") -> None:
    """Enters the artefact and its ancestors in the workspace's database."""
    if not run.world.main:
        return
    from chatwright.store import Store, sqlite_url

    with Store.open(sqlite_url(run.workspace.root / "chatwright.db")) as store:
        for known in run.workspace.artefacts():
            store.register(known)
        if alias:
            store.set_alias(alias, artefact.id, f"made by chatwright {alias}")


def tell(run: Run, artefact: Artefact, as_json: bool, **steps: Artefact) -> None:
    """The result of a verb, from the first rank: one JSON object for machines, a few lines for people.

    `steps` are artefacts made besides; each is told by name, with its own figures.
    """
    if not run.world.main:
        return
    manifest = artefact.manifest
    figures = {key: value for key, value in manifest.figures.items() if key != "curve"}
    for name, step in steps.items():
        figures[name] = {"id": step.id, "path": str(step.path), **step.manifest.figures}
    if run.problems.count:
        figures |= {"rows_left_out": run.problems.count, "first_problem": run.problems.examples[0]}
    if as_json:
        print(json.dumps({"id": artefact.id, "path": str(artefact.path), "kind": manifest.kind, "figures": figures}))
        return
    print(f"{manifest.name}  {artefact.id}\n  {artefact.path}")
    for key, value in figures.items():
        _tell_figure(key, value, "  ")


def _tell_figure(key: str, value: Any, indent: str) -> None:
    """One line, or for a table in a table one line a row. Curves are for machines."""
    if key == "curve":
        return
    if isinstance(value, dict) and any(isinstance(inner, dict | list) for inner in value.values()):
        print(f"{indent}{key.replace('_', ' ')}:")
        for name, inner in value.items():
            _tell_figure(name, inner, indent + "  ")
    else:
        print(f"{indent}{key.replace('_', ' ')}: {_short(value)}")


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_short(v)}" for k, v in value.items()) or "none"
    if isinstance(value, list):
        return "; ".join(_short(v) for v in value[:5]) or "none"
    if value is None:
        return "not measured"
    return str(value)


def read_rows(run: Any, data: list[Path], parse: Any) -> list[Any]:
    """The usable rows; the others are named and counted on the terminal."""
    from chatwright.cycle.run import read_all

    with run.progress.stage("read", 1) as stage:
        rows = read_all(data, parse, stage, problems=run.problems)
        stage.advance(1)
    return rows


def files_id(data: list[Path]) -> dict[str, str]:
    """The parent that files are: what they hold, under the name `files`."""
    from chatwright.text import inputs_id

    return {"files": inputs_id(data)}


def exports_in(rows: list[Any]) -> dict[str, str]:
    """The parents that exports of feedback are: by their ids, which each of their rows carries, whatever file it is in.

    So it can be told later which models learned from what somebody takes back.
    """
    found = sorted({str(row.meta["export"]) for row in rows if row.meta.get("export")})
    return {f"feedback {n}" if n > 1 else "feedback": ident for n, ident in enumerate(found, start=1)}


def complain(sentence: str) -> None:
    print(sentence, file=sys.stderr)
