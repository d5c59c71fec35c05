"""`models` and `evaluate`: what there is, and how good it is."""

from __future__ import annotations

import json as json_
from typing import TYPE_CHECKING, Annotated

import typer

from chatwright.cli.options import (
    WORKSPACE,
    Data,
    Json,
    Preset,
    Seed,
    Set,
    Toml,
    Where,
    find,
    open_run,
    settings_of,
)  # fmt: skip

if TYPE_CHECKING:
    from rich.tree import Tree

    from chatwright.workspace import Artefact


def models(workspace: Where = WORKSPACE, json: Json = False) -> None:
    """Show every artefact of the workspace as a tree: what was made from what.

    \b
    Example: chatwright models --workspace .chatwright
    """
    from chatwright.workspace import Workspace

    artefacts = Workspace(workspace).artefacts()
    if json:
        rows = [{"id": a.id, "kind": a.manifest.kind, "name": a.manifest.name, "parents": a.manifest.parents,
                 "seed": a.manifest.seed, "source": a.manifest.source, "created": a.manifest.created,
                 "path": str(a.path)} for a in artefacts]  # fmt: skip
        print(json_.dumps(rows))
        return
    if not artefacts:
        print(f"{workspace} holds nothing yet; `chatwright demo` builds a first assistant")
        return
    from rich.console import Console
    from rich.tree import Tree

    root = Tree(f"[bold]{workspace}")
    _grow(root, artefacts)
    Console().print(root)


def _grow(root: Tree, artefacts: list[Artefact]) -> None:
    """Each artefact hangs below its youngest parent; its other parents are named beside it."""
    order = {a.id: n for n, a in enumerate(artefacts)}
    places: dict[str, Tree] = {}
    for artefact in artefacts:
        manifest = artefact.manifest
        inside = sorted((p for p in manifest.parents.values() if p in places), key=order.__getitem__)
        others = "".join(f", {p}" for p in inside[:-1])
        key = {"pretrain": "bits_per_byte", "reward": "pair_accuracy", "ppo": "reward", "grpo": "reward",
               "sft": "heldout_loss"}  # fmt: skip
        figure = manifest.figures.get(key.get(manifest.kind, ""))
        shown = f"  {key[manifest.kind].replace('_', ' ')} {figure:.3f}" if isinstance(figure, float) else ""
        label = f"{manifest.name}  [dim]{artefact.id}{others and '  (also from' + others[1:] + ')'}[/dim]{shown}"
        if manifest.source == "simulated":
            label += "  [dim italic]simulated[/]"
        places[artefact.id] = (places[inside[-1]] if inside else root).add(label)


def evaluate(
    model: Annotated[str, typer.Argument(help="Folder, id or name of a model.")],
    data: Data,
    workspace: Where = WORKSPACE,
    preset: Preset = "laptop",
    config: Toml = None,
    set: Set = None,
    seed: Seed = None,
    json: Json = False,
) -> None:
    """Measure a model on held-out rows: bits per byte of documents, loss on demonstrations, order of rankings.

    Rows may be mixed; each kind is measured for what it is.

    \b
    Example: chatwright evaluate sft heldout.jsonl
    """
    settings = settings_of(preset, config, set, seed=seed)
    with open_run(settings, workspace) as run:
        from chatwright.cycle.measure import measure

        figures = measure(run, find(run.workspace, model, "pretrain", "sft", "ppo", "grpo", "dpo", "model"), data)
    if json:
        print(json_.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name.replace('_', ' ')}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")
