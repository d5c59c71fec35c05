"""`feedback`: what people said of answers, as files that training reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chatwright.cli.options import WORKSPACE, Json, Preset, Set, Toml, Where, complain, settings_of

app = typer.Typer(
    no_args_is_help=True,
    help="What people said of answers, to learn from.\n\nExample: chatwright feedback export --out said.jsonl",
)


@app.command("export")
def export(
    out: Annotated[Path, typer.Option("--out", help="The file to write, JSON lines.")],
    kind: Annotated[
        str, typer.Option(help="comparison (for reward and dpo: choices, and praise beside blame) or rating (thumbs).")
    ] = "comparison",
    since: Annotated[str, typer.Option(help="Only what was said from this day or time on, as 2026-11-22.")] = "",
    version: Annotated[str, typer.Option(help="Only about this model, by name or id.")] = "",
    workspace: Where = WORKSPACE,
    preset: Preset = "laptop",
    config: Toml = None,
    set: Set = None,
    json: Json = False,
) -> None:
    """Write feedback to learn from. What nobody allowed to be learned from stays where it is, always.

    \b
    Example: chatwright feedback export --kind comparison --since 2026-11-01 --out said.jsonl
    """
    import getpass
    from datetime import UTC, datetime

    from chatwright.errors import InputError
    from chatwright.product.listening import export as exporting
    from chatwright.store import Store, sqlite_url

    if kind not in ("comparison", "rating"):
        raise InputError(f"--kind {kind!r} is none; use comparison or rating")
    if not out.name.endswith(".jsonl"):
        raise InputError(f"--out {out} should end in .jsonl, so that other verbs read it")
    serve = settings_of(preset, config, set).serve
    database = workspace / "chatwright.db"
    if not serve.database and not database.exists():
        raise InputError(f"{workspace} has no database yet; name the workspace that `chatwright serve` runs in")
    with Store.open(serve.database or sqlite_url(database)) as store:
        written = exporting.export(
            store, kind, out, datetime.now(UTC), getpass.getuser(),
            since=exporting.moment(since) if since else None, version=version,
        )  # fmt: skip
    if json:
        print(exporting.summary(written, out))
        return
    print(f"{out}\n  {written.rows} rows ({written.id})")
    if written.left_out:
        complain(f"left out{exporting.told(written.left_out)}")
