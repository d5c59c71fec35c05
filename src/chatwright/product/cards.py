"""The card behind a model's name: when and from what it was made, and how it measured."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from chatwright.errors import InputError
from chatwright.workspace import MANIFEST, Artefact, find_artefact, load_artefact

MOST_FIGURES = 12


def card_of(folder: Path | None) -> dict[str, Any] | None:
    """The card of the model in a checkpoint folder; None where the folder has no manifest, or the model none at all."""
    if folder is None:
        return None
    beside = sorted(folder.parent.glob(f"evaluation-*/{MANIFEST}"))
    return _card(folder, tuple((file, file.stat().st_mtime_ns) for file in beside))


@lru_cache(maxsize=256)
def _card(folder: Path, evaluations: tuple[tuple[Path, int], ...]) -> dict[str, Any] | None:
    try:
        found = find_artefact(folder)
    except InputError:
        return None
    if found is None:
        return None
    manifest = found.manifest
    figures = measured(found, [file.parent for file, _ in evaluations]) or scalars(manifest.figures)
    return {
        "kind": manifest.kind, "created": manifest.created, "parents": [*manifest.parents.values()],
        "figures": dict([*figures.items()][:MOST_FIGURES]),
    }  # fmt: skip


def measured(model: Artefact, evaluations: list[Path]) -> dict[str, float]:
    """What the newest evaluation with this model among its parents says of it."""
    rows: list[tuple[str, dict[str, float]]] = []
    for folder in evaluations:
        try:
            evaluation = load_artefact(folder).manifest
        except InputError:
            continue
        names = [name for name, ident in evaluation.parents.items() if ident == model.id]
        stages = evaluation.figures.get("stages")
        if not isinstance(stages, list):
            continue
        rows += [(evaluation.created, scalars(stage)) for stage in stages if stage.get("name") in names]
    return max(rows, key=lambda row: row[0])[1] if rows else {}


def scalars(figures: dict[str, Any]) -> dict[str, float]:
    """The plain numbers among the figures."""
    return {
        name: value for name, value in figures.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name != "seconds"
    }  # fmt: skip
