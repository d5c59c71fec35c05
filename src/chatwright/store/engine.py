"""Opens the database a URL names, brings its tables up to date, and says in one sentence why it cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from chatwright.errors import ConfigError, WorkspaceError

BUSY_SECONDS = 30
"""How long SQLite waits for another process's write before it gives up."""
MIGRATION_LOCK = 0x43_48_41_54
"""PostgreSQL advisory lock held while migrating ("CHAT")."""


def connect(url: str) -> Engine:
    """An engine for `sqlite:///path` or `postgresql://...`; raises ConfigError for any other URL. Nothing is opened."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigError("the database URL cannot be read; write sqlite:///path or postgresql://host/name") from None
    family = parsed.get_backend_name()
    try:
        if family == "sqlite":
            return _sqlite(parsed)
        if family == "postgresql":
            return create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    except (NoSuchModuleError, ModuleNotFoundError):
        raise ConfigError("PostgreSQL needs the package psycopg; install chatwright[postgres]") from None
    except (ArgumentError, ValueError) as error:
        raise ConfigError(f"the database URL {_shown(parsed)} cannot be used ({error})") from None
    raise ConfigError(f"the database {family!r} is not supported; write sqlite:///path or postgresql://host/name")


def _sqlite(url: URL) -> Engine:
    if url.database and url.database != ":memory:":
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(f"the folder of {_shown(url)} cannot be made ({error.strerror})") from None
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def on_connect(connection, _record) -> None:  # pyright: ignore[reportMissingParameterType]
        # The driver's own transactions begin too late (at the first write), where two readers that both want to
        # write would fail instead of waiting; so it gets none, and `on_begin` begins them.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@contextmanager
def transaction(engine: Engine, *, writes: bool) -> Iterator[Connection]:
    """One transaction, committed at the end of the block; with `writes` it holds SQLite's write lock from the start.

    Raises WorkspaceError where the database cannot be reached or read.
    """
    with explained(engine), engine.connect().execution_options(writes=writes) as connection, connection.begin():
        yield connection


@contextmanager
def explained(engine: Engine) -> Iterator[None]:
    """Turns what the driver says into one sentence without passwords."""
    try:
        yield
    except DBAPIError as error:
        why = " ".join(str(error.orig).split())
        shown = _shown(engine.url)
        if "not a database" in why or "malformed" in why:
            raise WorkspaceError(f"the database {shown} is damaged ({why}); restore a copy or name another") from None
        if isinstance(error, OperationalError):
            raise WorkspaceError(
                f"the database {shown} cannot be used ({why}); check that it runs and is yours"
            ) from None
        raise


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=True)


def migrate(engine: Engine) -> None:
    """Brings the tables to the newest revision; processes that open the database together wait for each other."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    with transaction(engine, writes=True) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise WorkspaceError(
                f"the database {_shown(engine.url)} was written by a newer Chatwright ({error}); upgrade Chatwright"
            ) from None


def insert_for(connection: Connection, table: Table, row: Mapping[str, Any]) -> Any:
    """An insert that can say what to do on a conflict; both databases can, each in its own words."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table).values(row)
