"""`import` and `export`: how models come from elsewhere and go there, as Hugging Face folders and as GGUF files."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chatwright.cli.options import WORKSPACE, Json, Where, complain, find, open_run, register, settings_of, tell

if TYPE_CHECKING:
    from chatwright.workspace import Artefact

MODELS = ("pretrain", "sft", "ppo", "grpo", "dpo", "model")
"""Kinds of artefacts that can be talked to."""


def import_(
    source: Annotated[
        Path, typer.Argument(help="A Hugging Face folder or a .gguf file: llama, mistral, qwen2 or qwen3.")
    ],
    name: Annotated[str, typer.Option(help="What to call it here.")] = "imported",
    workspace: Where = WORKSPACE,
    json: Json = False,
) -> None:
    """Bring a foreign checkpoint into the workspace; it keeps its own tokenizer and chat template.

    A GGUF file's weights are read into float32, whatever they are quantised to (needs the extra gguf).

    \b
    Example: chatwright import downloads/some-model --name mine
    Example: chatwright import downloads/some-model-Q8_0.gguf --name mine
    """
    settings = settings_of("laptop", None, None)
    with open_run(settings, workspace) as run:
        from chatwright.errors import CheckpointError
        from chatwright.model.checkpoint import checkpoint_files
        from chatwright.workspace import file_hash, finish

        if not source.exists():
            raise CheckpointError(f"{source} does not exist; check the path")
        files = [source] if source.is_file() else checkpoint_files(source)
        config = {"name": name, "files": {p.name: file_hash(p) for p in files}}
        artefact = run.artefact("model", config, {}, lambda out: (
            _bring(source, out),
            finish(out, kind="model", name=name, parents={}, config=config, seed=settings.seed, figures={}),
        ))  # fmt: skip
        register(run, artefact, alias=name)
    tell(run, artefact, json)


def _bring(source: Path, out: Path) -> None:
    """The model folder `out` from what lies at `source`; nothing is left there where that is no model."""
    from chatwright.model.checkpoint import check_checkpoint, checkpoint_files, copy_checkpoint

    if source.is_dir():
        copy_checkpoint(source, out)
        return
    from tempfile import TemporaryDirectory

    from chatwright.model.gguf import import_gguf

    with TemporaryDirectory(prefix=".import-", dir=out.parent) as passing:
        import_gguf(source, Path(passing))
        check_checkpoint(Path(passing), named=source)
        for path in checkpoint_files(Path(passing)):
            path.rename(out / path.name)


def export(
    model: Annotated[str, typer.Argument(help="Folder, id or name of a model.")],
    out: Annotated[Path, typer.Argument(help="A folder, or with --gguf a file, that does not exist yet.")],
    gguf: Annotated[bool, typer.Option("--gguf", help="Write one GGUF file, for llama.cpp and Ollama.")] = False,
    type: Annotated[str, typer.Option(help="Numbers of a GGUF file: f32, f16, bf16 or q8_0.")] = "f16",
    workspace: Where = WORKSPACE,
    json: Json = False,
) -> None:
    """Write a model as a Hugging Face folder that transformers and vLLM open, or as a GGUF file.

    \b
    Example: chatwright export assistant my-assistant/
    Example: chatwright export assistant my-assistant.gguf --gguf --type q8_0
    """
    from chatwright.errors import InputError
    from chatwright.workspace import Workspace

    if out.suffix == ".gguf" and not gguf:
        raise InputError(f"{out} looks like a GGUF file; add --gguf, or name a folder")
    if out.is_file() or (out.exists() and (gguf or any(out.iterdir()))):
        raise InputError(
            f"{out} exists{'' if gguf else ' and is not empty'}; name a new {'file' if gguf else 'folder'}"
        )
    artefact = find(Workspace(workspace), model, *MODELS)
    told = write_gguf(artefact, out, type) if gguf else write_folder(artefact, out)
    for sentence in told:
        complain(f"note: {sentence}")
    if json:
        print(json_.dumps({"id": artefact.id, "path": str(out), "format": "gguf" if gguf else "hf", "notes": told}))
    else:
        print(f"{artefact.id} -> {out}")


def write_gguf(artefact: Artefact, out: Path, type: str) -> list[str]:
    """One GGUF file; what differs from the model, in sentences."""
    from chatwright.model.gguf import export_gguf

    return export_gguf(artefact.path, out, number_format=type, name=artefact.manifest.name)


def write_folder(artefact: Artefact, out: Path) -> list[str]:
    """A Hugging Face folder, whole or absent."""
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
    return []
