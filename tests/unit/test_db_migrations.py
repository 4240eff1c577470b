"""The database: made by Alembic alone, in step with `tables.py`, its times with zones, its locks sound."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import JSON, Boolean, Column, Integer, Numeric, Table, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.types import TIMESTAMP, BigInteger, Float, LargeBinary, String

from autoloader_server.db.engine import Database, sqlite_url
from autoloader_server.db.migrate import ledger_id, migrate, scripts
from autoloader_server.db.tables import ingestions, metadata, runs
from autoloader_server.db.types import Sentence, UtcDateTime

MOMENT = datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=45)))


@pytest.fixture
def database(empty_database_url: str) -> Iterator[Database]:
    database = Database(empty_database_url)
    yield database
    database.close()


def config() -> Config:
    found = Config()
    found.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    return found


def revision(database: Database) -> str | None:
    with database.read() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def downgrade(database: Database, to: str) -> None:
    found = config()
    with database.write() as connection:
        found.attributes["connection"] = connection
        command.downgrade(found, to)


def revisions() -> list[str]:
    """From the first to the head."""
    return [each.revision for each in reversed(list(ScriptDirectory.from_config(config()).walk_revisions()))]


def value_of(column: Column[Any]) -> Any:
    match column.type:
        case UtcDateTime() | TIMESTAMP():
            return MOMENT
        case JSON():
            return {"ü": [1, None]}
        case Boolean():
            return True
        case Integer() | BigInteger() | Float() | Numeric():
            return 7
        case LargeBinary():
            return b"\x00\xff"
        case String() | Sentence():
            return f"{column.name}"[:30]
    raise AssertionError(f"a column of a new type: {column!r}")


def fill(database: Database) -> dict[str, Any]:
    """One row in each table, every column given; what is read back."""
    with database.write() as connection:
        for table in metadata.sorted_tables:
            connection.execute(insert(table).values({c.name: value_of(c) for c in table.columns}))
    return contents(database)


def contents(database: Database) -> dict[str, Any]:
    with database.read() as connection:
        return {
            table.name: [dict(row._mapping) for row in connection.execute(select(table))]
            for table in metadata.sorted_tables
        }


def test_there_is_one_head_and_one_root() -> None:
    directory = ScriptDirectory.from_config(config())
    assert len(directory.get_heads()) == 1
    assert len(directory.get_bases()) == 1


def test_an_empty_database_gets_every_table_and_the_newest_revision(database: Database) -> None:
    assert revision(database) is None
    migrate(database)
    assert revision(database) == revisions()[-1]
    assert set(inspect(database.engine).get_table_names()) == {*metadata.tables, "alembic_version"}


def test_the_migrations_make_what_tables_py_says(database: Database) -> None:
    migrate(database)
    with database.read() as connection:
        opts = {"compare_type": True, "compare_server_default": _has_another_default}
        assert compare_metadata(MigrationContext.configure(connection, opts=opts), metadata) == []


def _has_another_default(
    _context: Any, _inspected: Any, column: Column[Any], there: str | None, _given: Any, wanted: str | None
) -> bool | None:
    """None leaves it to Alembic, which on PostgreSQL asks the server, and that cannot compare JSON."""
    if not isinstance(column.type, JSON) or there is None or wanted is None:
        return None
    return there.removesuffix("::json").strip("'") != wanted.strip("'")


def test_the_comparison_would_see_a_column_that_has_no_migration(database: Database) -> None:
    migrate(database)
    with database.write() as connection:
        connection.execute(text("ALTER TABLE ingestions DROP COLUMN prefect_flow_id"))
    with database.read() as connection:
        found = compare_metadata(MigrationContext.configure(connection), metadata)
    assert [(what[0], what[3].name) for what in found] == [("add_column", "prefect_flow_id")]


def test_each_step_goes_up_and_down_from_empty(database: Database) -> None:
    steps: list[str] = revisions()
    for step, below in zip(steps, ["base", *steps], strict=False):
        migrate(database, step)
        assert revision(database) == step
        downgrade(database, below)
        assert revision(database) == (None if below == "base" else below)
        migrate(database, step)


def test_down_to_nothing_and_up_again_from_a_filled_database(database: Database) -> None:
    migrate(database)
    before = fill(database)
    assert all(len(rows) == 1 for rows in before.values())
    downgrade(database, "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    migrate(database)
    assert not any(contents(database).values())
    assert fill(database) == before


def test_a_filled_database_survives_each_step_upwards(database: Database) -> None:
    steps = revisions()
    migrate(database, steps[0])
    with database.write() as connection:
        for name in inspect(connection).get_table_names():
            if name != "alembic_version":
                table = Table(name, metadata.__class__(), autoload_with=connection)
                connection.execute(insert(table).values({c.name: _raw(c) for c in table.columns}))
    migrate(database)
    with database.read() as connection:
        for name in metadata.tables:
            assert connection.execute(text(f"SELECT count(*) FROM {name}")).scalar() == 1, name


def _raw(column: Column[Any]) -> Any:
    """For a column as the database shows it."""
    name = column.type.__class__.__name__
    return MOMENT.astimezone(UTC).replace(tzinfo=None) if name == "DATETIME" else value_of(column)


def test_migrating_what_is_migrated_changes_nothing(database: Database) -> None:
    migrate(database)
    before = fill(database)
    migrate(database)
    assert contents(database) == before


def test_a_database_of_a_newer_version_is_refused_and_left_alone(database: Database) -> None:
    migrate(database)
    before = fill(database)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(RuntimeError, match=r"newer autoloader \(revision 9999\): upgrade autoloader-sdk"):
        migrate(database)
    assert revision(database) == "9999"
    assert contents(database) == before


@pytest.mark.parametrize(
    "secret", [{"username": "me", "password": "geheim"}, {"query": {"user": "me", "password": "geheim"}}]
)
def test_the_refusal_shows_no_password(database: Database, secret: dict[str, Any]) -> None:
    migrate(database)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.url = database.url.set(host="db", **secret)
    with pytest.raises(RuntimeError) as caught:
        migrate(database)
    assert "geheim" not in str(caught.value)


def test_the_ledgers_identity_stays_the_same(database: Database) -> None:
    migrate(database)
    first = ledger_id(database)
    assert ledger_id(database) == first
    again = Database(database.url)
    assert ledger_id(again) == first
    again.close()


def test_two_databases_have_two_identities(tmp_path: Path) -> None:
    found = set()
    for name in ("one.db", "two.db"):
        database = Database(sqlite_url(tmp_path / name))
        migrate(database)
        found.add(ledger_id(database))
        database.close()
    assert len(found) == 2


def test_every_table_has_a_tenant(database: Database) -> None:
    migrate(database)
    for name in metadata.tables:
        columns = {column["name"]: column for column in inspect(database.engine).get_columns(name)}
        assert columns["tenant_id"]["nullable"] is False, name
        assert "default" in str(columns["tenant_id"]["default"]), name


def test_an_ingestion_can_have_its_prefect_deployment(database: Database) -> None:
    migrate(database)
    columns = {column["name"]: column for column in inspect(database.engine).get_columns("ingestions")}
    for name in ("prefect_deployment_id", "prefect_flow_id"):
        assert str(columns[name]["type"]) == "VARCHAR(255)"
        assert columns[name]["nullable"] is True
    for name in ("version", "synced_version"):
        assert columns[name]["nullable"] is False
    indexes = inspect(database.engine).get_indexes("ingestions")
    found = {index["name"]: index["column_names"] for index in indexes}
    assert found["ix_ingestions_prefect_deployment_id"] == ["prefect_deployment_id"]


def test_of_an_ingestion_one_run_waits_at_most(database: Database) -> None:
    migrate(database)

    def add(run_id: str, status: str) -> None:
        with database.write() as connection:
            connection.execute(
                insert(runs).values(id=run_id, ingestion_id="i", status=status, trigger="manual", created_at=MOMENT)
            )

    add("1", "queued")
    add("2", "running")
    with pytest.raises(IntegrityError, match=r"(?i)unique"):
        add("3", "queued")


def make_ingestion(database: Database, created_at: datetime) -> None:
    with database.write() as connection:
        connection.execute(
            insert(ingestions).values(
                id="i", name="n", status="draft", spec={}, created_at=created_at, updated_at=MOMENT
            )
        )


def test_a_time_is_stored_as_the_instant_that_it_is(database: Database) -> None:
    migrate(database)
    make_ingestion(database, MOMENT)
    with database.read() as connection:
        found = connection.execute(select(ingestions.c.created_at)).scalar_one()
        raw = connection.execute(text("SELECT created_at FROM ingestions")).scalar_one()
    assert found == MOMENT
    assert found.tzinfo is UTC
    if database.is_sqlite:
        assert raw == "2026-03-28 20:45:00.123456"


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    migrate(database)
    with pytest.raises(StatementError, match="a time without a zone"):
        make_ingestion(database, datetime(2026, 1, 1))  # noqa: DTZ001


class Partition(NamedTuple):
    mountpoint: str
    fstype: str


def mounted(monkeypatch: pytest.MonkeyPatch, *mounts: tuple[Path | str, str]) -> None:
    found = [Partition(str(place), kind) for place, kind in mounts]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: found)


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "CIFS", "9p", "fuse.sshfs"])
def test_sqlite_on_a_network_file_system_is_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted(monkeypatch, ("/", "ext4"), (tmp_path, kind))
    file = tmp_path / "deep" / "ledger.db"
    with pytest.raises(ValueError, match="network file system") as caught:
        Database(sqlite_url(file))
    assert str(file) in str(caught.value)
    assert "AUTOLOADER_DATABASE_URL" in str(caught.value)
    assert not file.exists()


def test_sqlite_on_a_local_disk_below_a_network_mount_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted(monkeypatch, ("/", "nfs4"), (tmp_path, "ext4"))
    Database(sqlite_url(tmp_path / "ledger.db")).close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_ledger_in_memory_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="in-memory"):
        Database(url)


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    database = Database(sqlite_url(tmp_path / "ledger.db"))
    yield database
    database.close()


def test_sqlite_is_set_up_for_several_processes_and_power_cuts(sqlite: Database) -> None:
    with sqlite.read() as connection:
        found = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "busy_timeout", "synchronous", "foreign_keys")
        }
    assert found == {"journal_mode": "wal", "busy_timeout": 30_000, "synchronous": 2, "foreign_keys": 1}


def test_a_transaction_that_writes_holds_the_lock_from_its_beginning(sqlite: Database) -> None:
    migrate(sqlite)
    other = Database(sqlite.url)
    try:
        with sqlite.write(), other.engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert raw is not None
            raw.execute("PRAGMA busy_timeout=0")
            with pytest.raises(Exception, match="locked"):
                raw.execute("BEGIN IMMEDIATE")
    finally:
        other.close()


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    migrate(database)

    def fail_midway() -> None:
        row = {"id": "1", "ingestion_id": "i", "status": "queued", "trigger": "manual", "created_at": MOMENT}
        with database.write() as connection:
            connection.execute(insert(runs).values(row))
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail_midway()
    with database.read() as connection:
        assert connection.execute(select(runs.c.id)).all() == []
