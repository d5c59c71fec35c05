"""`people`: who has an account here, and a way back in for who lost the password."""

from __future__ import annotations

import json as json_
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chatwright.cli.options import WORKSPACE, Json, Port, Preset, Set, Toml, Where, settings_of

if TYPE_CHECKING:
    from chatwright.config import ServeConfig
    from chatwright.store import Store

app = typer.Typer(
    no_args_is_help=True,
    help=(
        "Accounts of `chatwright serve --accounts people`. Whoever can read the database may use this: it asks for no "
        "password.\n\nExample: chatwright people list"
    ),
)


@app.command("list")
def list_(
    workspace: Where = WORKSPACE,
    preset: Preset = "laptop",
    config: Toml = None,
    set: Set = None,
    json: Json = False,
) -> None:
    """Show who has an account, oldest first.

    \b
    Example: chatwright people list --json
    """
    with _opened(workspace, settings_of(preset, config, set).serve) as store:
        found = [one for one in store.people.page(limit=1_000_000) if one.id != "local"]
    if json:
        rows = [{"id": one.id, "email": one.email, "name": one.name, "role": one.role, "disabled": one.disabled,
                 "groups": list(one.groups), "created": one.created.isoformat()} for one in found]  # fmt: skip
        print(json_.dumps(rows))
        return
    if not found:
        print("nobody has an account yet; `chatwright serve --accounts people` prints the link for the first one")
    for one in found:
        out = ", disabled" if one.disabled else ""
        print(f"{one.email or one.id}  {_plain(one.name)}  ({one.role}{out})")


@app.command("reset")
def reset(
    email: Annotated[str, typer.Argument(help="The address of the account.")],
    port: Port = None,
    workspace: Where = WORKSPACE,
    preset: Preset = "laptop",
    config: Toml = None,
    set: Set = None,
    json: Json = False,
) -> None:
    """Print a link that sets a new password, once and within a day; it ends every session of that account.

    \b
    Example: chatwright people reset ada@example.org
    """
    import getpass

    from chatwright.product.accounts.desk import AccountDesk

    serve = settings_of(preset, config, set, port=port).serve
    with _opened(workspace, serve) as store:
        link = AccountDesk(store, serve).rescue(email, getpass.getuser())
    host = f"[{serve.host}]" if ":" in serve.host else serve.host
    url = f"{serve.public_url.rstrip('/') or f'http://{host}:{serve.port}'}/#/invitation/{link.token}"
    print(json_.dumps({"url": url, "expires": link.expires.isoformat()}) if json else url)


@contextmanager
def _opened(workspace: Path, serve: ServeConfig) -> Iterator[Store]:
    from chatwright.errors import InputError
    from chatwright.store import Store, sqlite_url

    database = workspace / "chatwright.db"
    if not serve.database and not database.exists():
        raise InputError(f"{workspace} has no database yet; name the workspace that `chatwright serve` runs in")
    with Store.open(serve.database or sqlite_url(database)) as store:
        yield store


def _plain(name: str) -> str:
    """Without what would move a terminal's cursor or colour it."""
    return "".join(letter for letter in name if letter.isprintable())
