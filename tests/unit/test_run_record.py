"""A run is ended in one way, whoever ends it, and only once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from autoloader_sdk.models import RunStatus
from autoloader_server.db.engine import Database
from autoloader_server.db.tables import ingestions, run_errors, run_logs, runs
from autoloader_server.engine import run_record
from autoloader_server.engine.errors import INTERNAL

RUN, ING = "run-1", "ing-1"
AGO = datetime(2026, 1, 1, tzinfo=UTC)


def add(database: Database, status: RunStatus, ingestion_status: str = "draft") -> None:
    going = {} if status == RunStatus.QUEUED else {"started_at": AGO, "lease_token": "t", "step": "loading"}
    row = {"id": ING, "name": ING, "status": ingestion_status, "status_reason": "why", "spec": {}}
    with database.write() as connection:
        connection.execute(insert(ingestions).values(**row, created_at=AGO, updated_at=AGO))
        connection.execute(
            insert(runs).values(id=RUN, ingestion_id=ING, status=status, trigger="manual", created_at=AGO, **going)
        )


def row_of(database: Database) -> Any:
    with database.read() as connection:
        return connection.execute(select(runs).where(runs.c.id == RUN)).one()


def last_of(database: Database) -> Any:
    with database.read() as connection:
        return connection.execute(select(ingestions).where(ingestions.c.id == ING)).one()


def errors_of(database: Database) -> list[tuple[str, str]]:
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(select(run_errors.c.error_type, run_errors.c.message))]


def finished(connection: Connection) -> None:
    run_record.end(connection, RUN, RunStatus.SUCCESS, "nothing new")


def broken(connection: Connection) -> None:
    run_record.end(connection, RUN, RunStatus.FAILED, "why", category=INTERNAL)


def died(connection: Connection) -> None:
    run_record.end_dead(connection, RUN)


def cancelled(connection: Connection) -> None:
    run_record.cancel(connection, RUN, "nobody wants it")


@pytest.mark.parametrize(
    ("before", "end", "status", "error"),
    [
        (RunStatus.RUNNING, finished, "success", None),
        (RunStatus.RUNNING, broken, "failed", "internal"),
        (RunStatus.QUEUED, broken, "failed", "internal"),
        (RunStatus.RUNNING, died, "failed", "interrupted"),
        (RunStatus.QUEUED, cancelled, "cancelled", None),
    ],
)
def test_an_ended_run_has_its_end_its_sentence_and_no_lease(
    database: Database, before: RunStatus, end: Callable[[Connection], None], status: str, error: str | None
) -> None:
    add(database, before)
    with database.write() as connection:
        end(connection)
    row = row_of(database)
    assert (row.status, row.step, row.lease_token) == (status, None, None)
    assert row.message
    assert row.started_at == (row.ended_at if before == RunStatus.QUEUED else AGO)
    assert row.ended_at > AGO
    assert errors_of(database) == ([(error, row.message)] if error else [])
    ingestion = last_of(database)
    assert (ingestion.last_run_id, ingestion.last_run_at) == (RUN, row.ended_at)


def test_a_run_ends_once(database: Database) -> None:
    add(database, RunStatus.RUNNING)
    with database.write() as connection:
        assert run_record.end(connection, RUN, RunStatus.SUCCESS, None)
    first = row_of(database)
    with database.write() as connection:
        assert not run_record.end(connection, RUN, RunStatus.FAILED, "again", category=INTERNAL)
        assert not run_record.end_dead(connection, RUN)
        run_record.cancel(connection, RUN, "too late")
    assert row_of(database) == first
    assert errors_of(database) == []


def test_who_may_not_end_a_run_changes_nothing(database: Database) -> None:
    add(database, RunStatus.RUNNING)
    before = row_of(database)
    with database.write() as connection:
        another = runs.c.lease_token == "another"
        assert not run_record.end(connection, RUN, RunStatus.FAILED, "why", another, category=INTERNAL)
    assert row_of(database) == before
    assert last_of(database).last_run_id is None


def test_a_running_run_is_asked_to_stop(database: Database) -> None:
    add(database, RunStatus.RUNNING)
    with database.write() as connection:
        run_record.cancel(connection, RUN, "nobody wants it")
    row = row_of(database)
    assert (row.status, row.cancel_requested, row.ended_at) == ("running", True, None)


@pytest.mark.parametrize(
    ("status", "before", "after"),
    [
        (RunStatus.SUCCESS, "draft", "active"),
        (RunStatus.PARTIAL, "error", "active"),
        (RunStatus.SUCCESS, "paused", "paused"),
        (RunStatus.FAILED, "draft", "draft"),
        (RunStatus.CANCELLED, "error", "error"),
    ],
)
def test_an_ingestion_is_active_once_it_has_loaded(
    database: Database, status: RunStatus, before: str, after: str
) -> None:
    add(database, RunStatus.RUNNING, before)
    with database.write() as connection:
        assert run_record.end(connection, RUN, status, "password=hunter2-itself")
    assert last_of(database).status == after
    assert "hunter2" not in row_of(database).message


def test_the_log_tells_a_hundred_failed_files_and_that_there_are_more(database: Database) -> None:
    add(database, RunStatus.RUNNING)
    with database.write() as connection:
        for number in range(150):
            run_record.report(connection, RUN, "data_malformed", "broken", file=f"/f/{number}")
        told = connection.execute(select(run_logs.c.message).order_by(run_logs.c.id)).scalars().all()
        assert connection.execute(select(runs.c.error_count)).scalar() == 150
    assert len(errors_of(database)) == 150
    assert told[0] == "/f/0 failed: broken"
    assert told[99:] == ["/f/99 failed: broken", "more files failed: the run's errors name each of them"]


def test_a_step_is_told_once(database: Database) -> None:
    add(database, RunStatus.RUNNING)
    with database.write() as connection:
        for step in ("loading", "publishing", "publishing", "loading"):
            run_record.progress(connection, RUN, step, files_found=3)
        told = connection.execute(select(run_logs.c.message).order_by(run_logs.c.id)).scalars().all()
    assert told == ["publishing", "loading"]
