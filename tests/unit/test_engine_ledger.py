"""What is written into the ledger: nothing about a run that has ended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from autoloader_server.db.engine import Database, sqlite_url
from autoloader_server.db.migrate import migrate
from autoloader_server.db.tables import runs
from autoloader_server.engine import ledger

RUN = "run-1"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(sqlite_url(tmp_path / "ledger.db"))
    migrate(database)
    yield database
    database.close()


def add_run(database: Database, status: str) -> None:
    row = {"id": RUN, "ingestion_id": "ing-1", "status": status, "trigger": "manual", "created_at": datetime.now(UTC)}
    with database.write() as connection:
        connection.execute(insert(runs).values(row))


@pytest.mark.parametrize(("status", "step"), [("running", "publishing"), ("failed", None)])
def test_a_worker_that_wakes_up_does_not_give_an_ended_run_a_step(
    database: Database, status: str, step: str | None
) -> None:
    add_run(database, status)
    with database.write() as connection:
        ledger.progress(connection, RUN, "publishing", columns_ignored=1)
    with database.read() as connection:
        row = connection.execute(select(runs.c.step, runs.c.columns_ignored)).one()
    assert tuple(row) == (step, 1 if step else 0)
