"""`engine`: one model behind the OpenAI API, without the gateway."""

from __future__ import annotations

import json as json_
import sys
from pathlib import Path
from typing import Annotated

import typer

from chatwright.cli.interop import MODELS
from chatwright.cli.options import WORKSPACE, Json, Where, complain, find


def engine(
    model: Annotated[str, typer.Argument(help="Folder, id or name of a model.")],
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Loopback port; 0 takes a free one.")] = 8601,
    backend: Annotated[str, typer.Option(help="chatwright, llamacpp or vllm.")] = "chatwright",
    type: Annotated[str, typer.Option(help="Numbers of the GGUF file for llamacpp: f32, f16, bf16 or q8_0.")] = "q8_0",
    python: Annotated[str, typer.Option(help="A Python that has the backend; default: this one.")] = sys.executable,
    workspace: Where = WORKSPACE,
    json: Json = False,
) -> None:
    """Serve one model behind the OpenAI API on a loopback port: no accounts, no page, no guard.

    The engine is our own, or llama.cpp's or vLLM's server over the same model, where that is installed.

    \b
    Example: chatwright engine assistant --port 8601
    Example: chatwright engine assistant --backend llamacpp --type q8_0
    """
    from chatwright.engine import backends

    folder, name = _model(workspace, model)
    port = backends.free_port(port)

    def gguf() -> Path:
        return _gguf(workspace, folder, name, type)

    command = backends.command(backend, folder, name, port, python=python, gguf=gguf)

    def ready(url: str, pid: int) -> None:
        if json:
            print(json_.dumps({"url": f"{url}/v1", "model": name, "backend": command.what, "pid": pid}), flush=True)
        else:
            complain(f"{name} at {url}/v1 ({command.what}); Ctrl-C stops it")

    raise typer.Exit(max(0, backends.run(command, port, ready)))


def _model(workspace: Path, model: str) -> tuple[Path, str]:
    """Folder and name: an artefact's, or those of a bare Hugging Face folder."""
    from chatwright.workspace import MANIFEST, Workspace

    path = Path(model)
    if (path / "config.json").exists() and not (path / MANIFEST).exists():
        return path, path.resolve().name
    artefact = find(Workspace(workspace), model, *MODELS)
    return artefact.path, artefact.manifest.name


def _gguf(workspace: Path, folder: Path, name: str, type: str) -> Path:
    """The model's GGUF file in the workspace, written where it is not there yet."""
    from chatwright.model.checkpoint import checkpoint_files
    from chatwright.model.gguf import export_gguf
    from chatwright.workspace import file_hash, stage_key

    key = stage_key("gguf", {p.name: file_hash(p) for p in checkpoint_files(folder)}, {}, 0)
    out = workspace / "exports" / f"{name}-{key}-{type}.gguf"
    if not out.exists():
        for sentence in export_gguf(folder, out, number_format=type, name=name):
            complain(f"note: {sentence}")
    return out
