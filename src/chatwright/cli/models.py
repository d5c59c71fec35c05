"""`models`, `evaluate`, `import`, `export`: what there is, how good it is, and how it comes and goes."""

from __future__ import annotations

import json as json_
from pathlib import Path
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
    register,
    settings_of,
    tell,
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


def import_(
    source: Annotated[Path, typer.Argument(help="A Hugging Face folder: llama, mistral, qwen2 or qwen3.")],
    name: Annotated[str, typer.Option(help="What to call it here.")] = "imported",
    workspace: Where = WORKSPACE,
    json: Json = False,
) -> None:
    """Bring a foreign checkpoint into the workspace; it keeps its own tokenizer and chat template.

    \b
    Example: chatwright import downloads/some-model --name mine
    """
    settings = settings_of("laptop", None, None)
    with open_run(settings, workspace) as run:
        from chatwright.model.checkpoint import checkpoint_files, copy_checkpoint
        from chatwright.workspace import file_hash, finish

        config = {"name": name, "files": {p.name: file_hash(p) for p in checkpoint_files(source)}}
        artefact = run.artefact("model", config, {}, lambda out: (
            copy_checkpoint(source, out),
            finish(out, kind="model", name=name, parents={}, config=config, seed=settings.seed, figures={}),
        ))  # fmt: skip
        register(run, artefact, alias=name)
    tell(run, artefact, json)


def export(
    model: Annotated[str, typer.Argument(help="Folder, id or name of a model.")],
    out: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    workspace: Where = WORKSPACE,
) -> None:
    """Write a model as a Hugging Face folder that transformers and vLLM open.

    \b
    Example: chatwright export assistant my-assistant/
    """
    from chatwright.errors import InputError
    from chatwright.workspace import Workspace

    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} exists and is not empty; name a new folder")
    artefact = find(Workspace(workspace), model, "pretrain", "sft", "ppo", "grpo", "dpo", "model")
    import shutil

    from chatwright.model.checkpoint import copy_checkpoint

    passing = out.with_name(f".{out.name}.tmp")
    try:
        copy_checkpoint(artefact.path, passing)
        if out.exists():
            out.rmdir()
        passing.rename(out)
    finally:
        shutil.rmtree(passing, ignore_errors=True)
    print(f"{artefact.id} -> {out}")
