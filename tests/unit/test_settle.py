"""Whose rows those of a file may be, where the table's history tells nothing any more."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import insert, update

from autoloader_sdk.models import FileStatus
from autoloader_server.db.engine import Database
from autoloader_server.db.tables import batches, ingestions, processed_files
from autoloader_server.engine import batch_record, ledger, settle

MADE = datetime(2026, 1, 1, tzinfo=UTC)
TABLE, OTHER_TABLE = "table-1", "table-2"


@pytest.fixture
def database(database: Database) -> Database:
    """Two ingestions, of which the first has an unfinished batch of the files /a and /b in its table."""
    row = {"status": "active", "spec": {}, "created_at": MADE, "updated_at": MADE}
    with database.write() as connection:
        for name in ("ours", "other"):
            connection.execute(insert(ingestions).values(id=name, name=name, **row))
    add_batch(database, "unfinished", "OPEN")
    for path in ("/a", "/b"):
        add_file(database, path, FileStatus.PROCESSING, batch_id="unfinished")
    return database


def add_batch(database: Database, batch_id: str, status: str, **more: Any) -> None:
    row = {"id": batch_id, "ingestion_id": "ours", "run_id": "run", "generation": 0, "status": status}
    row |= {"files": 1, "bytes": 1, "table_name": "t", "table_uuid": TABLE, "base_snapshot_id": 1, "created_at": MADE}
    with database.write() as connection:
        connection.execute(insert(batches).values(row | more))


def add_file(database: Database, path: str, status: str, **more: Any) -> None:
    row = {"ingestion_id": "ours", "path": path, "identity": "1", "status": status, "size": 1, "first_seen_at": MADE}
    with database.write() as connection:
        connection.execute(insert(processed_files).values(row | more))


def clear(database: Database, ingestion: str) -> None:
    raised = ingestions.c.generation + 1
    with database.write() as connection:
        connection.execute(update(ingestions).where(ingestions.c.id == ingestion).values(generation=raised))


def doubt(database: Database) -> str | None:
    with database.read() as connection:
        batch = batch_record.get(connection, "unfinished")
        return settle._doubt(connection, batch, ledger.files_of(connection, "unfinished"))


def test_rows_of_files_that_nobody_else_has_loaded_are_those_of_the_batch(database: Database) -> None:
    add_batch(database, "landed", "LANDED")
    add_file(database, "/c", FileStatus.SUCCESS, batch_id="landed", loaded_at=MADE)
    assert doubt(database) is None


@pytest.mark.parametrize(
    "version",
    [
        {"status": FileStatus.SUCCESS, "loaded_at": MADE},
        {"status": FileStatus.SKIPPED, "reason": ledger.REPLACED, "loaded_at": MADE},
        {"status": FileStatus.PROCESSING, "ingestion_id": "other"},
        {"status": FileStatus.SUCCESS, "loaded_at": MADE, "ingestion_id": "other"},
    ],
    ids=["loaded", "replaced", "being loaded by another", "loaded by another"],
)
def test_another_version_that_had_rows_is_a_doubt_in_this_table_alone(
    version: dict[str, Any], database: Database
) -> None:
    owner = version.get("ingestion_id", "ours")
    add_batch(database, "elsewhere", "LANDED", ingestion_id=owner, table_uuid=OTHER_TABLE)
    add_file(database, "/b", **version, ordinal=2, batch_id="elsewhere")
    assert doubt(database) is None
    add_batch(database, "here", "LANDED", ingestion_id=owner)
    add_file(database, "/b", **version, ordinal=3, batch_id="here")
    assert doubt(database) == "'/b' was loaded in another version or by another ingestion as well"


@pytest.mark.parametrize("ingestion", ["ours", "other"])
def test_what_was_cleared_is_a_doubt_where_it_may_have_left_rows_in_this_table(
    ingestion: str, database: Database
) -> None:
    add_batch(database, "burned", "BURNED", ingestion_id=ingestion)
    add_batch(database, "elsewhere", "LANDED", ingestion_id=ingestion, table_uuid=OTHER_TABLE)
    if ingestion == "ours":
        with database.write() as connection:
            connection.execute(update(batches).where(batches.c.id == "unfinished").values(generation=1))
    clear(database, ingestion)
    assert doubt(database) is None
    add_batch(database, "landed", "LANDED", ingestion_id=ingestion)
    assert (
        doubt(database)
        == f"rows of its files may be from before the ingestion {ingestion} was cleared, refreshed or deleted"
    )
