"""A schema version is written down before its columns are added, and counted once they are there."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pyspark.sql.types import LongType, StringType
from sqlalchemy import insert, select

from autoloader_server.db.engine import Database
from autoloader_server.db.tables import ingestions, schema_versions
from autoloader_server.engine import schema_record
from autoloader_server.engine.changes import Change

ING = "ing-1"
SCHEMA = {"type": "struct", "fields": []}


@pytest.fixture
def database(database: Database) -> Database:
    """With an ingestion in it."""
    moment = datetime.now(UTC)
    row = {"id": ING, "name": ING, "status": "active", "spec": {}, "created_at": moment, "updated_at": moment}
    with database.write() as connection:
        connection.execute(insert(ingestions).values(row))
    return database


def intend(database: Database, *fields: Change) -> None:
    with database.write() as connection:
        schema_record.intend(connection, ING, SCHEMA, fields, strategy="append_new_columns")


def written(database: Database) -> list[tuple[int, list[str]]]:
    with database.read() as connection:
        rows = connection.execute(select(schema_versions).order_by(schema_versions.c.version)).all()
    return [(row.version, [change["column_name"] for change in row.changes_json]) for row in rows]


A = Change(("a",), None, LongType(), ("/a.csv",))
B = Change(("b", "element", "c"), None, StringType(), ("/b.csv", "/a.csv"))


def test_a_version_that_came_to_nothing_is_replaced(database: Database) -> None:
    intend(database, A)
    intend(database, A, B)
    assert written(database) == [(2, ["a", "b.element.c"])]


def test_a_counted_version_stays_and_the_next_one_follows(database: Database) -> None:
    intend(database, A)
    after = {"type": "struct", "fields": [{"name": "a"}]}
    with database.write() as connection:
        meant = schema_record.meant(connection, ING)
        assert meant is not None
        assert meant[:2] == (2, SCHEMA)
        schema_record.count(connection, ING, 2, after)
        assert schema_record.meant(connection, ING) is None
        assert connection.execute(select(schema_versions.c.schema_json)).scalar() == after
    intend(database, B)
    assert written(database) == [(2, ["a"]), (3, ["b.element.c"])]
