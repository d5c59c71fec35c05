"""`serve`: the gateway in front of one engine process per model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chatwright.cli.options import WORKSPACE, Port, Preset, Set, Toml, Where, complain, find, settings_of


def serve(
    model: Annotated[
        list[str] | None,
        typer.Argument(help="Folders, ids, names or URLs (http://host:port/v1#model); default: what the demo built."),
    ] = None,
    upstream_key: Annotated[
        str | None, typer.Option(help="Name of the environment variable with the key of the URLs.")
    ] = None,
    port: Port = None,
    accounts: Annotated[
        str | None, typer.Option(help="local: one person, on this machine only; people: everybody signs in.")
    ] = None,
    workspace: Where = WORKSPACE,
    preset: Preset = "laptop",
    config: Toml = None,
    set: Set = None,
) -> None:
    """Serve models: a chat page, and the OpenAI API under /v1.

    \b
    Example: chatwright serve assistant --port 8600
    """
    from chatwright import product
    from chatwright.workspace import Workspace

    overrides = [*(set or []), *([f"serve.accounts={accounts}"] if accounts else [])]
    settings = settings_of(preset, config, overrides, port=port)
    models: list[Path | str] = [
        name if name.startswith(("http://", "https://")) else find(Workspace(workspace), name).path
        for name in model or []
    ]
    product.serve(
        settings.serve,
        workspace,
        models=models or None,
        key_env=upstream_key or "",
        on_ready=lambda url: complain(f"serving at {url}"),
    )
