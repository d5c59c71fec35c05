"""Registering, lineage and aliases, on both databases."""

import multiprocessing
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from chatwright.errors import ConfigError, InputError, WorkspaceError
from chatwright.store import Store, sqlite_url
from chatwright.store.engine import connect, migrate, transaction
from chatwright.store.tables import metadata
from chatwright.workspace import Artefact, Manifest


def artefact(ident: str, *, created: str = "2026-01-01T00:00:00+00:00", **parents: str) -> Artefact:
    manifest = Manifest(
        ident, ident.partition("-")[0], f"my {ident}", parents, {"lr": 0.1}, 7, {"loss": 1.5}, created=created
    )
    return Artefact(Path("/workspace") / ident, manifest)


def test_registered_artefact_comes_back_whole(store: Store) -> None:
    store.register(artefact("base-01", created="2026-01-01T03:00:00+02:00", corpus="corpus-01"))
    (entry,) = store.artefacts()
    assert (entry.id, entry.kind, entry.name, entry.path) == ("base-01", "base", "my base-01", "/workspace/base-01")
    assert entry.manifest["parents"] == {"corpus": "corpus-01"}
    assert entry.manifest["figures"] == {"loss": 1.5}
    assert entry.created == datetime(2026, 1, 1, 1, tzinfo=UTC)
    assert store.get("base-01") == entry


def test_registering_again_changes_path_only(store: Store) -> None:
    first = artefact("base-01", corpus="corpus-01")
    store.register(first)
    store.register(first)
    store.register(replace(first, path=Path("/moved/base-01")))
    assert [entry.path for entry in store.artefacts()] == ["/moved/base-01"]
    assert len(store.lineage("base-01")) == 1


def test_artefacts_are_oldest_first_and_filtered_by_kind(store: Store) -> None:
    for ident, created in (("sft-02", "2026-02-02"), ("base-01", "2026-01-01"), ("sft-01", "2026-02-01")):
        store.register(artefact(ident, created=f"{created}T00:00:00+00:00"))
    assert [entry.id for entry in store.artefacts()] == ["base-01", "sft-01", "sft-02"]
    assert [entry.id for entry in store.artefacts("sft")] == ["sft-01", "sft-02"]


def test_lineage_walks_to_the_raw_files(store: Store) -> None:
    store.register(artefact("corpus-01", files="files-aa"))
    store.register(artefact("tokenizer-01", corpus="corpus-01"))
    store.register(artefact("base-01", corpus="corpus-01", tokenizer="tokenizer-01"))
    store.register(artefact("sft-01", model="base-01"))
    store.register(artefact("other-01", corpus="corpus-09"))
    lineage = store.lineage("sft-01")
    assert [(a.depth, a.child, a.role, a.id) for a in lineage] == [
        (1, "sft-01", "model", "base-01"),
        (2, "base-01", "corpus", "corpus-01"),
        (2, "base-01", "tokenizer", "tokenizer-01"),
        (3, "corpus-01", "files", "files-aa"),
        (3, "tokenizer-01", "corpus", "corpus-01"),
    ]
    assert [a.id for a in lineage if a.entry is None] == ["files-aa"]
    assert store.lineage("corpus-01")[0].id == "files-aa"
    with pytest.raises(InputError, match="no artefact 'sft-99'"):
        store.lineage("sft-99")


def test_alias_moves_and_keeps_its_history(store: Store) -> None:
    for ident in ("sft-01", "ppo-01"):
        store.register(artefact(ident))
    assert store.set_alias("assistant", "sft-01", "first build") is None
    assert store.set_alias("assistant", "ppo-01", "wins 0.7 of pairs", who="ada") == "sft-01"
    assert store.aliases() == {"assistant": "ppo-01"}
    history = store.alias_history("assistant")
    assert [(c.old, c.new, c.who, c.reason) for c in history] == [
        (None, "sft-01", "", "first build"),
        ("sft-01", "ppo-01", "ada", "wins 0.7 of pairs"),
    ]
    assert history[0].at <= history[1].at <= datetime.now(UTC)
    assert store.alias_history("nobody") == []


def test_alias_of_unknown_artefact_changes_nothing(store: Store) -> None:
    with pytest.raises(InputError, match="'assistant' needs a registered artefact"):
        store.set_alias("assistant", "sft-01", "typo")
    assert store.aliases() == {}
    assert store.alias_history("assistant") == []


def test_resolve_by_alias_id_and_beginning(store: Store) -> None:
    for ident in ("sft-01", "sft-012", "ppo-77"):
        store.register(artefact(ident))
    store.set_alias("assistant", "ppo-77", "")
    assert store.resolve("assistant").id == "ppo-77"
    assert store.resolve("sft-01").id == "sft-01"
    assert store.resolve("sft-012").id == "sft-012"
    assert store.resolve("ppo").id == "ppo-77"
    with pytest.raises(InputError, match=r"could be sft-01, sft-012; write more"):
        store.resolve("sft")
    for nothing in ("base", "%", "s_t"):
        with pytest.raises(InputError, match="no artefact or alias"):
            store.resolve(nothing)


def test_aliased_artefact_cannot_be_deleted(store: Store) -> None:
    from sqlalchemy.exc import IntegrityError

    store.register(artefact("sft-01"))
    store.set_alias("assistant", "sft-01", "")
    with pytest.raises(IntegrityError), transaction(store._engine, writes=True) as connection:
        connection.execute(text("DELETE FROM artefacts"))


CHANGES = 12


def _move_alias(url: str, ident: str, barrier: object) -> None:
    barrier.wait()  # pyright: ignore[reportAttributeAccessIssue]
    with Store.open(url) as store:
        for number in range(CHANGES):
            store.register(artefact(ident))
            store.set_alias("assistant", ident, f"change {number}", who=ident)


def test_two_processes_migrate_and_move_an_alias_without_loss(url: str) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    workers = [context.Process(target=_move_alias, args=(url, ident, barrier)) for ident in ("sft-01", "ppo-01")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    with Store.open(url) as store:
        history = store.alias_history("assistant")
        assert sorted((c.who, c.reason) for c in history) == sorted(
            (ident, f"change {number}") for ident in ("sft-01", "ppo-01") for number in range(CHANGES)
        )
        assert [c.old for c in history] == [None, *(c.new for c in history[:-1])]
        assert store.aliases() == {"assistant": history[-1].new}


def test_migrations_make_the_tables_of_the_code(url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine = connect(url)
    migrate(engine)
    migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_database_of_a_newer_version_is_left_alone(url: str) -> None:
    engine = connect(url)
    migrate(engine)
    with transaction(engine, writes=True) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(WorkspaceError, match="written by a newer Chatwright"):
        Store.open(url)
    engine.dispose()


@pytest.mark.parametrize("bad", ["nonsense", "mysql://host/db", "sqlite+nothing:///x", "", "postgresql://h:port/db"])
def test_bad_url_is_one_sentence(bad: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Store.open(bad)
    assert "\n" not in str(caught.value)


def test_unreachable_database_is_one_sentence_without_password() -> None:
    with pytest.raises(WorkspaceError, match="cannot be used") as caught:
        Store.open("postgresql://me:geheim@127.0.0.1:1/db")
    assert "geheim" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"this is no database" * 500)
    with pytest.raises(WorkspaceError, match="is damaged"):
        Store.open(sqlite_url(tmp_path / "store.db"))


def test_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="cannot be"):
        Store.open(sqlite_url(tmp_path / "file" / "store.db"))


def test_sqlite_waits_for_writers_and_keeps_foreign_keys(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with Store.open(sqlite_url(path)) as store, transaction(store._engine, writes=False) as connection:
        pragmas = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in
                   ("journal_mode", "busy_timeout", "foreign_keys")}  # fmt: skip
    assert pragmas == {"journal_mode": "wal", "busy_timeout": 30_000, "foreign_keys": 1}


def test_readers_go_on_while_another_process_writes(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with Store.open(sqlite_url(path)) as store:
        store.register(artefact("sft-01"))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert [entry.id for entry in store.artefacts()] == ["sft-01"]
        other.execute("ROLLBACK")
        other.close()
