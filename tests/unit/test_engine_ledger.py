"""What is written into the ledger: nothing that is secret, and nothing about a run that has ended."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, select

from autoloader_server.db.engine import Database
from autoloader_server.db.tables import batches, runs
from autoloader_server.engine import batch_record, run_record
from autoloader_server.engine.batch_record import BatchStatus
from autoloader_server.engine.lease import Lease

RUN = "run-1"


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
        run_record.progress(connection, RUN, "publishing", columns_ignored=1)
    with database.read() as connection:
        row = connection.execute(select(runs.c.step, runs.c.columns_ignored)).one()
    assert tuple(row) == (step, 1 if step else 0)


def test_why_a_batch_is_burned_shows_no_secret_of_its_records(database: Database) -> None:
    lease = Lease(database, RUN, seconds=60, renew_seconds=15)
    with database.write() as connection:
        connection.execute(
            insert(batches).values(
                id="batch-1",
                ingestion_id="ing-1",
                run_id=RUN,
                generation=0,
                status=BatchStatus.OPEN,
                files=1,
                bytes=1,
                table_name="t",
                table_uuid="u",
                base_snapshot_id=1,
                created_at=datetime.now(UTC),
                **lease.columns(),
            )
        )
        batch_record.begin_burning(connection, lease, "batch-1", """the first: '{"password": "hunter2", "n": "x"}'""")
        reason = connection.execute(select(batches.c.reason)).scalar_one()
    assert reason == """the first: '{"password": ***, "n": "x"}'"""
