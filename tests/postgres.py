"""A real PostgreSQL in a temporary folder, where one is installed."""

import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest


def _programs() -> Path | None:
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


def _quietly(folder: Path, *command: object) -> None:
    """Runs a program of PostgreSQL, which refuses to be root. No pipes: the server would inherit and hold them."""
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    with (folder / "out").open("ab") as out:
        subprocess.run([*prefix, *map(str, command)], check=True, cwd=folder, stdout=out, stderr=out)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server in a temporary folder, without a database name."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (no initdb)")
    if os.geteuid() == 0 and (
        shutil.which("runuser") is None or subprocess.run(["id", "postgres"], check=False).returncode
    ):
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres to run it as")
    folder = Path(tempfile.mkdtemp(prefix="cwpg", dir="/tmp"))  # short: a socket path has at most 107 bytes
    folder.chmod(0o777)
    data = folder / "data"
    try:
        _quietly(folder, programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = f"-p {port} -k {folder} -h 127.0.0.1 -c fsync=off -c max_connections=20"
        _quietly(folder, programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start")
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}"
        finally:
            _quietly(folder, programs / "pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """The URL of an empty database."""
    import psycopg

    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{postgres_server}/{name}"
