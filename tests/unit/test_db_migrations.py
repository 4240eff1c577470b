"""The database: made by Alembic alone, in step with `tables.py`, its times with zones, its locks sound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Integer,
    MetaData,
    Numeric,
    RowMapping,
    Table,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.types import TIMESTAMP, BigInteger, Float, LargeBinary, String

from autoloader_sdk.models import FileStatus
from autoloader_server.db.engine import Database, sqlite_url
from autoloader_server.db.migrate import ledger_id, migrate, scripts
from autoloader_server.db.tables import ingestions, metadata, runs
from autoloader_server.db.types import Sentence, UtcDateTime
from autoloader_server.engine.batch_record import UNFINISHED, BatchStatus, Verdict
from autoloader_server.engine.ledger import REPLACED

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
    shape: dict[str, Any] = {}
    for step, below in zip(steps, ["base", *steps], strict=False):
        before = shape
        migrate(database, step)
        assert revision(database) == step
        shape = shape_of(database)
        downgrade(database, below)
        assert revision(database) == (None if below == "base" else below)
        assert shape_of(database) == before
        migrate(database, step)
        assert shape_of(database) == shape


def shape_of(database: Database) -> dict[str, Any]:
    """Each table with its columns, indexes and constraints."""
    found = inspect(database.engine)
    return {
        name: {
            "columns": {each["name"]: _texts(each) for each in found.get_columns(name)},
            "indexes": {each["name"]: _texts(each) for each in found.get_indexes(name)},
            "unique": [_texts(each) for each in found.get_unique_constraints(name)],
            "key": found.get_pk_constraint(name)["constrained_columns"],
        }
        for name in found.get_table_names()
        if name != "alembic_version"
    }


def _texts(found: Mapping[str, Any]) -> dict[str, Any]:
    """With the SQL in it (types, the condition of an index) as text: as objects, no two are equal."""
    return {key: _texts(value) if isinstance(value, dict) else str(value) for key, value in found.items()}


def test_down_to_nothing_and_up_again_from_a_filled_database(database: Database) -> None:
    migrate(database)
    before = fill(database)
    assert all(len(rows) == 1 for rows in before.values())
    downgrade(database, "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    migrate(database)
    assert not any(contents(database).values())
    assert fill(database) == before


# What a step does to rows that are there.

Row = dict[str, Any]
# Table, then key, then row.
Rows = dict[str, dict[str, Row]]

NOT_JUDGED = "held: 3 rows, at least 100 are wanted"
CHANGED = "changed after it was loaded (a → b): held back, so that no row is there twice"
HELD_BACK = "changed after it was loaded"
NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)


def a_batch(name: str, status: BatchStatus, **values: Any) -> Row:
    row: Row = {"id": name, "ingestion_id": "i", "run_id": "r", "generation": 0, "status": status, "attempt": 1}
    row |= {"files": 1, "bytes": 10, "table_name": "`lake`.`a`.`b`", "table_uuid": "t", "base_snapshot_id": 1}
    row |= {"staged_snapshot_id": 2**53 + 1, "counted": False, "branches_dropped": False, "created_at": NOON}
    return row | values


def a_file(path: str, status: FileStatus, **values: Any) -> Row:
    row: Row = {"ingestion_id": "i", "path": path, "ordinal": 1, "identity": "e", "current": True, "status": status}
    row |= {"retryable": False, "attempts": 1, "size": 10, "first_seen_at": NOON}
    return row | values


def loaded_before(path: str) -> Row:
    """The first version of a file of which there is another one."""
    values = {"reason": REPLACED, "current": False, "loaded_at": NOON, "records": 5, "batch_id": "landed"}
    return a_file(path, FileStatus.SKIPPED, **values)


# What the version of each revision may have left behind: of each kind of row one, where a step may do something to it.
LEFT_BY: dict[str, dict[str, list[Row]]] = {
    "0001": {
        "runs": [
            {"id": "r", "ingestion_id": "i", "status": "running", "trigger": "manual", "created_at": NOON},
            {"id": "s", "ingestion_id": "i", "status": "success", "trigger": "manual", "created_at": NOON},
        ],
        "batches": [
            a_batch("landed", BatchStatus.LANDED, published_snapshot_id=7, records=5, counted=True, ended_at=NOON),
            a_batch("open", BatchStatus.OPEN, lease_token="t", lease_owner={"pid": 1}, lease_expires_at=1.5),
            a_batch("burning", BatchStatus.BURNING, reason="the run was cancelled"),
            a_batch("burned", BatchStatus.BURNED, reason="the run was cancelled", branches_dropped=True),
        ],
        "processed_files": [
            a_file("landed", FileStatus.SUCCESS, batch_id="landed", records=5, loaded_at=NOON),
            a_file("open", FileStatus.PROCESSING, batch_id="open", run_id="r"),
            a_file("burning", FileStatus.PROCESSING, batch_id="burning"),
            a_file("burned", FileStatus.DISCOVERED),
            a_file("failed", FileStatus.FAILED, reason="not CSV", category="data_malformed", attempts=2),
            a_file("_hidden", FileStatus.SKIPPED, reason="hidden"),
            a_file("changed", FileStatus.SUCCESS, batch_id="landed", current=False, loaded_at=NOON),
            a_file("changed", FileStatus.HELD, ordinal=2, reason=CHANGED),
        ],
    },
    "0002": {
        "batches": [
            a_batch("held", BatchStatus.HELD, reason="too few rows"),
            a_batch("releasing", BatchStatus.OPEN, verdict=Verdict.RELEASING),
            a_batch("dropped", BatchStatus.BURNING, verdict=Verdict.DROPPED, reason="dropped by a call"),
            a_batch("not-judged", BatchStatus.OPEN),
        ],
        "processed_files": [
            a_file("held", FileStatus.HELD, batch_id="held", reason=NOT_JUDGED),
            a_file("releasing", FileStatus.PROCESSING, batch_id="releasing"),
            a_file("dropped", FileStatus.PROCESSING, batch_id="dropped", reason="dropped by a call"),
            a_file("not-judged", FileStatus.PROCESSING, batch_id="not-judged"),
        ],
    },
    "0003": {
        "runs": [
            {"id": "b", "ingestion_id": "i", "status": "partial", "trigger": "retry", "created_at": NOON}
            | {"bad_records": 3}
        ],
        "batches": [
            a_batch("bad-open", BatchStatus.OPEN, verdict=Verdict.PASSED, quarantine_snapshot_id=9, bad_records=3),
            a_batch("bad-none", BatchStatus.OPEN, verdict=Verdict.PASSED, bad_records=0),
            a_batch("bad-held", BatchStatus.HELD, reason="too few rows", quarantine_snapshot_id=9, bad_records=1),
            a_batch("bad-landed", BatchStatus.LANDED, verdict=Verdict.PASSED, published_snapshot_id=8, bad_records=2),
            a_batch("bad-burning", BatchStatus.BURNING, quarantine_snapshot_id=9, bad_records=2),
        ],
        "processed_files": [
            a_file("bad-open", FileStatus.PROCESSING, batch_id="bad-open", bad_records=3),
            a_file("bad-held", FileStatus.HELD, batch_id="bad-held", reason=NOT_JUDGED, bad_records=1),
            a_file("bad-landed", FileStatus.SUCCESS, batch_id="bad-landed", bad_records=2, loaded_at=NOON),
        ],
    },
    "0004": {
        "batches": [
            a_batch("new-open", BatchStatus.OPEN, verdict=Verdict.PASSED, replaces=True),
            a_batch("new-burning", BatchStatus.BURNING, replaces=True),
            a_batch("new-held", BatchStatus.HELD, reason="too few rows", replaces=True),
            a_batch("new-landed", BatchStatus.LANDED, verdict=Verdict.PASSED, replaces=True, published_snapshot_id=8),
            a_batch("new-burned", BatchStatus.BURNED, replaces=True, branches_dropped=True),
        ],
        "processed_files": [
            *map(loaded_before, ("new-open", "new-burning", "new-held", "new-landed", "new-burned", "new-failed")),
            a_file("new-open", FileStatus.PROCESSING, ordinal=2, batch_id="new-open"),
            a_file("new-burning", FileStatus.PROCESSING, ordinal=2, batch_id="new-burning"),
            a_file("new-held", FileStatus.HELD, ordinal=2, batch_id="new-held", reason=NOT_JUDGED),
            a_file("new-landed", FileStatus.SUCCESS, ordinal=2, batch_id="new-landed", loaded_at=NOON),
            a_file("new-burned", FileStatus.DISCOVERED, ordinal=2),
            a_file("new-failed", FileStatus.FAILED, ordinal=2, reason="not CSV", category="data_malformed"),
            # The same path, of an ingestion that has loaded nothing.
            a_file("new-burned", FileStatus.DISCOVERED, ingestion_id="other"),
            # Another version, of which none was ever loaded.
            a_file("never", FileStatus.SKIPPED, current=False, reason="superseded by a newer version (was FAILED)"),
            a_file("never", FileStatus.DISCOVERED, ordinal=2),
        ],
    },
    "0005": {
        "tokens": [
            {
                "id": "token",
                "name": "nightly",
                "scope": "read",
                "hash": "5" * 64,
                "created_at": NOON,
                "expires_at": NOON,
            }
        ],
        "idempotency_keys": [
            {"tenant_id": tenant, "key": "the same", "request": "r", "created_at": NOON} for tenant in ("a", "default")
        ],
    },
    "0006": {"run_logs": [{"id": 1, "run_id": "r", "timestamp": NOON, "level": "info", "message": "started"}]},
}

# The columns that each step upwards adds, with what it writes into them; it changes nothing else.
ADDED: dict[str, dict[str, Row]] = {
    "0001": {},
    "0002": {"batches": {"verdict": "PASSED"}},
    "0003": {
        "runs": {"bad_records": 0},
        "batches": {"quarantine_snapshot_id": None, "bad_records": None},
        "processed_files": {"bad_records": None},
    },
    "0004": {"batches": {"replaces": False}},
    "0005": {},
    "0006": {},
}
# The tables that a step upwards adds.
NEW_TABLES = {"0005": ("tokens",), "0006": ("run_logs",)}
# The rows that a step downwards takes away: of tenants that the version before does not know.
TAKEN_BACK = {"0005": {"idempotency_keys": ("tenant_id key", "a the same")}}

# What each step downwards changes, beside taking those columns away; all else stays as it was.
CHANGED_BACK: dict[str, Rows] = {
    "0006": {},
    "0005": {},
    "0004": {
        "batches": {
            "new-open": {"status": "BURNED"},
            "new-burning": {"status": "BURNED"},
            "new-held": {"status": "BURNED"},
        },
        "processed_files": {
            "i new-open 2": {"status": "HELD", "batch_id": None, "reason": HELD_BACK},
            "i new-burning 2": {"status": "HELD", "batch_id": None, "reason": HELD_BACK},
            "i new-held 2": {"status": "HELD", "batch_id": None, "reason": HELD_BACK},
            "i new-burned 2": {"status": "HELD", "reason": HELD_BACK},
            "i new-failed 2": {"status": "HELD", "reason": HELD_BACK},
        },
    },
    "0003": {
        "batches": {
            "bad-open": {"staged_snapshot_id": None},
            "bad-none": {"staged_snapshot_id": None},
            "bad-held": {"staged_snapshot_id": None},
        },
    },
    "0002": {
        "batches": {
            "held": {"status": "OPEN", "reason": None},
            "bad-held": {"status": "OPEN", "reason": None},
        },
        "processed_files": {
            "i held 1": {"status": "PROCESSING", "reason": None},
            "i bad-held 1": {"status": "PROCESSING", "reason": None},
        },
    },
}


def reflected(connection: Connection) -> dict[str, Table]:
    """The tables as the database has them, whatever its revision."""
    there = MetaData()
    there.reflect(connection)
    return {name: table for name, table in there.tables.items() if name != "alembic_version"}


def stored(database: Database) -> Rows:
    with database.read() as connection:
        return {
            name: {_key(row): dict(row) for row in connection.execute(select(table)).mappings()}
            for name, table in reflected(connection).items()
        }


def _key(row: RowMapping) -> str:
    if "ordinal" in row:
        return f"{row['ingestion_id']} {row['path']} {row['ordinal']}"
    return f"{row['tenant_id']} {row['key']}" if "key" in row else str(row["id"])


def leave(database: Database, step: str) -> None:
    """What the version of this revision leaves behind; where it is the first, also a row in each other table."""
    with database.write() as connection:
        for name, table in reflected(connection).items():
            rows = LEFT_BY[step].get(name, [])
            if not rows and step == revisions()[0]:
                rows = [{column.name: _raw(column) for column in table.columns}]
            for row in rows:
                connection.execute(insert(table).values(row))


def _raw(column: Column[Any]) -> Any:
    """For a column as the database shows it."""
    name = column.type.__class__.__name__
    return MOMENT.astimezone(UTC).replace(tzinfo=None) if name == "DATETIME" else value_of(column)


def climb(database: Database) -> Iterator[tuple[str, Rows, Rows]]:
    """Up from nothing, one step at a time: the revision, the rows as they must be now and as they are."""
    wanted: Rows = {}
    for step in revisions():
        migrate(database, step)
        wanted |= {table: {} for table in NEW_TABLES.get(step, ())}
        for table, values in ADDED[step].items():
            for row in wanted[table].values():
                row.update(values)
        yield step, wanted, stored(database)
        leave(database, step)
        wanted = stored(database)


def test_each_step_up_fills_its_new_columns_and_leaves_all_rows_as_they_were(database: Database) -> None:
    steps = climb(database)
    first, nothing, empty = next(steps)
    assert (first, nothing) == (revisions()[0], {})
    assert not any(empty.values())
    for step, wanted, found in steps:
        assert found == wanted, step
        assert all(rows for table, rows in wanted.items() if table not in NEW_TABLES.get(step, ())), "without a row"


def test_each_step_down_leaves_rows_that_the_version_before_can_go_on_with(database: Database) -> None:
    for _ in climb(database):
        pass
    steps = revisions()
    wanted = stored(database)
    for step, below in zip(reversed(steps), reversed(steps[:-1]), strict=False):
        downgrade(database, below)
        for table, values in ADDED[step].items():
            for row in wanted[table].values():
                for column in values:
                    del row[column]
        for table, rows in CHANGED_BACK[step].items():
            for key, changes in rows.items():
                wanted[table][key].update(changes)
        for table in NEW_TABLES.get(step, ()):
            assert wanted.pop(table)
        for table, keys in TAKEN_BACK.get(step, {}).items():
            for key in keys:
                del wanted[table][key]
        assert stored(database) == wanted, f"{step} down to {below}"
    migrate(database)
    wanted |= {table: {} for tables in NEW_TABLES.values() for table in tables}
    for values in ADDED.values():
        for table, added in values.items():
            for row in wanted[table].values():
                row.update(added)
    assert stored(database) == wanted


def test_what_a_step_down_leaves_has_states_that_the_version_before_knows(database: Database) -> None:
    """No held batch before there were verdicts; no batch that replaces, once nobody knows of it."""
    for _ in climb(database):
        pass
    downgrade(database, "0003")
    found = stored(database)
    assert {row["status"] for key, row in found["batches"].items() if key.startswith("new-")} == {"LANDED", "BURNED"}
    downgrade(database, "0001")
    found = stored(database)
    batches = found["batches"]
    assert "HELD" not in {row["status"] for row in batches.values()}
    for key, row in found["processed_files"].items():
        owner = batches.get(row["batch_id"] or "")
        assert (row["status"] == "PROCESSING") == (owner is not None and owner["status"] in UNFINISHED), key


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
