"""Runs are carried out once each, one at a time for an ingestion, and taken up when their worker died."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from autoloader_server.db.tables import batches, ingestions, run_errors, runs
from autoloader_server.engine import run_record
from autoloader_server.engine.lease import this_owner
from autoloader_server.engine.outcome import of_fault
from autoloader_server.engine.untold import Untold
from autoloader_server.service import Service
from autoloader_server.services import runs as run_service
from autoloader_server.services.ingestions import queue_deletion_runs
from autoloader_server.services.queue import RunQueue
from autoloader_server.settings import Settings
from autoloader_server.spark.processes import ProcessIdentity

SOON = 20.0


class Worker:
    """Stands where the engine does: says what was started, and ends a run when it is told to."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.news = threading.Condition()
        self.go = threading.Semaphore(0)
        self.error: Exception | None = None

    def __call__(self, service: Service, run_id: str) -> None:
        with service.database.write() as connection:
            mine = connection.execute(
                runs.update()
                .where(runs.c.id == run_id, runs.c.status == "queued")
                .values(
                    status="running",
                    lease_owner=this_owner(),
                    lease_token="t",
                    lease_expires_at=service.database.clock + 60,
                )
            )
        if mine.rowcount != 1:
            return
        with self.news:
            self.started.append(run_id)
            self.news.notify_all()
        assert self.go.acquire(timeout=SOON)
        if self.error is not None:
            raise self.error
        with service.database.write() as connection:
            connection.execute(runs.update().where(runs.c.id == run_id).values(status="success", lease_token=None))

    def wait_for(self, count: int) -> list[str]:
        with self.news:
            assert self.news.wait_for(lambda: len(self.started) >= count, SOON)
            return list(self.started)


@pytest.fixture
def service(tmp_path: Path, database_url: str) -> Iterator[Service]:
    opened = Service.open(Settings.load(home=tmp_path / "home", database_url=database_url, max_parallel_runs=2))
    # Its own queue has the real engine; these tests bring a queue of their own.
    opened.queue.close()
    yield opened
    opened.close()


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def queue(service: Service, worker: Worker) -> Iterator[RunQueue]:
    made = RunQueue(service, worker)
    yield made
    worker.go.release(100)
    assert made.wait_idle(SOON)
    made.close()


@pytest.fixture
def add(service: Service) -> Callable[..., str]:
    def add(ingestion_id: str, status: str = "queued", **values: Any) -> str:
        run_id = str(uuid.uuid4())
        row = {"id": run_id, "ingestion_id": ingestion_id, "status": status, "trigger": "manual"}
        with service.database.write() as connection:
            connection.execute(runs.insert().values(row | {"created_at": datetime.now(UTC)} | values))
        return run_id

    return add


def status_of(service: Service, run_id: str) -> Any:
    with service.database.read() as connection:
        return connection.execute(select(runs).where(runs.c.id == run_id)).one()


def test_a_run_is_carried_out_once_however_often_it_is_submitted(
    service: Service, queue: RunQueue, worker: Worker, add: Callable[..., str]
) -> None:
    run_id = add("a")
    for _ in range(5):
        queue.submit(run_id, "a")
        queue.sweep()
    assert worker.wait_for(1) == [run_id]
    assert queue.active() == [run_id]
    worker.go.release()
    assert queue.wait_idle(SOON)
    assert worker.started == [run_id]
    assert status_of(service, run_id).status == "success"


def test_what_a_deleted_ingestion_left_is_tried_again_after_longer_and_longer_pauses(service: Service) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    batch = {"run_id": "r", "generation": 0, "status": "OPEN", "files": 1, "bytes": 1, "table_name": "t"}
    with service.database.write() as connection:
        connection.execute(
            ingestions.insert().values(
                id="a", name="a", status="active", spec={}, created_at=moment, updated_at=moment, deleted_at=moment
            )
        )
        connection.execute(
            batches.insert().values(
                id="b", ingestion_id="a", table_uuid="u", base_snapshot_id=1, created_at=moment, **batch
            )
        )

    def next_try(minutes_ago: float) -> bool:
        """Whether there is one, this long after the last one has failed."""
        with service.database.write() as connection:
            connection.execute(
                runs.update().values(status="failed", ended_at=datetime.now(UTC) - timedelta(minutes=minutes_ago))
            )
        return bool(queue_deletion_runs(service.database))

    assert queue_deletion_runs(service.database)
    assert not queue_deletion_runs(service.database)
    assert [next_try(0.5), next_try(1.1), next_try(1.5), next_try(2.1), next_try(3.9), next_try(4.1)] == [
        *(False, True),
        *(False, True),
        *(False, True),
    ]
    for _ in range(8):
        assert next_try(61)
    assert not next_try(59)


def test_the_run_that_waits_starts_when_the_one_before_ends(
    queue: RunQueue, worker: Worker, add: Callable[..., str]
) -> None:
    first = add("a")
    queue.submit(first, "a")
    worker.wait_for(1)
    second = add("a")
    queue.sweep()
    assert queue.active() == [first]
    worker.go.release()
    assert worker.wait_for(2) == [first, second]


def test_only_so_many_run_at_once_and_the_rest_follow(queue: RunQueue, worker: Worker, add: Callable[..., str]) -> None:
    ids = [add(name) for name in "abcd"]
    for run_id, name in zip(ids, "abcd", strict=True):
        queue.submit(run_id, name)
    worker.wait_for(2)
    assert queue.active() == ids
    assert len(worker.started) == 2
    worker.go.release(2)
    assert set(worker.wait_for(4)) == set(ids)


def test_a_queued_run_of_a_dead_process_is_taken_up_by_the_next_sweep(
    queue: RunQueue, worker: Worker, add: Callable[..., str]
) -> None:
    run_id = add("a")
    queue.start()
    assert worker.wait_for(1) == [run_id]


def test_an_error_of_ours_before_a_run_begins_ends_it_as_failed_and_says_which_without_secrets(
    service: Service, add: Callable[..., str]
) -> None:
    def execute(of: Service, run_id: str) -> None:
        raise RuntimeError("password=hunter2-itself is wrong")

    made = RunQueue(service, execute)
    run_id = add("a")
    made.submit(run_id, "a")
    assert made.wait_idle(SOON)
    row = status_of(service, run_id)
    assert row.status == "failed"
    assert "RuntimeError: password=***" in row.message
    assert row.ended_at is not None
    with service.database.read() as connection:
        assert connection.execute(select(run_errors.c.message)).scalars().all() == [row.message]
    made.close()


def dead_owner() -> dict[str, Any]:
    """A process of this host that is gone."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = ProcessIdentity.of(process.pid)
    assert identity is not None
    owner = this_owner() | {"pid": identity.pid, "started": identity.started}
    process.kill()
    process.wait()
    return owner


def test_a_run_of_a_dead_worker_is_ended_and_the_waiting_one_starts(
    service: Service, queue: RunQueue, worker: Worker, add: Callable[..., str]
) -> None:
    lease = {
        "lease_token": "x",
        "lease_owner": dead_owner(),
        "lease_expires_at": service.database.clock + 3600,
    }
    dead = add("a", "running", **lease)
    waiting = add("a")
    queue.sweep()
    row = status_of(service, dead)
    assert (row.status, row.lease_token) == ("failed", None)
    assert "the worker died" in row.message
    assert "finishes its work" in row.message
    assert worker.wait_for(1) == [waiting]


def test_a_run_whose_lease_is_over_is_ended_wherever_its_worker_is(
    service: Service, queue: RunQueue, add: Callable[..., str]
) -> None:
    elsewhere = this_owner() | {"host": "another-host"}
    over, held = (
        add(
            name,
            "running",
            lease_token=name,
            lease_owner=elsewhere,
            lease_expires_at=service.database.clock + seconds,
        )
        for name, seconds in (("a", -1), ("b", 60))
    )
    queue.sweep()
    assert status_of(service, over).status == "failed"
    assert status_of(service, held).status == "running"


def test_a_closed_queue_takes_up_nothing(queue: RunQueue, worker: Worker, add: Callable[..., str]) -> None:
    queue.close()
    queue.submit(add("a"), "a")
    assert queue.active() == []
    assert worker.started == []


def full() -> OperationalError:
    cause = sqlite3.OperationalError("database or disk is full")
    cause.sqlite_errorcode = sqlite3.SQLITE_FULL
    return OperationalError("UPDATE", {}, cause)


FULL = "the ledger's database failed: database or disk is full; free some space and run again; nothing was lost"


@pytest.fixture
def untold(
    service: Service, queue: RunQueue, worker: Worker, add: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> str:
    """A run that has ended, where the ledger took no end; within the test it takes one again."""

    def refuse(*_: Any, **__: Any) -> bool:
        raise full()

    run_id = add("a")
    worker.error = Untold(run_id, "t", of_fault(full()))
    monkeypatch.setattr(service, "_queue", queue)
    with monkeypatch.context() as patched:
        patched.setattr(run_record, "end", refuse)
        queue.submit(run_id, "a")
        worker.wait_for(1)
        worker.go.release()
        assert queue.wait_idle(SOON)
        queue.sweep()
    return run_id


def test_where_the_end_of_a_run_cannot_be_stored_readers_are_told_and_the_next_sweep_stores_it(
    service: Service, queue: RunQueue, untold: str
) -> None:
    assert status_of(service, untold).status == "running"
    for told in (run_service.get(service, "a", untold), *run_service.find(service, "a").items):
        assert (told.status, told.message, told.step) == ("failed", FULL, None)
        assert told.ended_at is not None
        assert told.ended_at < datetime.now(UTC)
        assert [(error.error_type, error.message) for error in told.errors] == [("write_failure", FULL)]
    queue.sweep()
    row = status_of(service, untold)
    assert (row.status, row.message) == ("failed", FULL)
    assert len(run_service.get(service, "a", untold).errors) == 1
    assert queue.untold(untold, "t") is None


def test_a_service_that_closes_tells_what_it_could_not_before(service: Service, queue: RunQueue, untold: str) -> None:
    service.close()
    assert status_of(service, untold).message == FULL


def test_the_end_of_a_run_that_somebody_else_has_taken_is_not_told(
    service: Service, queue: RunQueue, untold: str
) -> None:
    with service.database.write() as connection:
        connection.execute(runs.update().values(lease_token="theirs"))
        connection.execute(
            batches.insert().values(
                id="b",
                ingestion_id="a",
                run_id=untold,
                generation=0,
                status="OPEN",
                files=1,
                bytes=1,
                table_name="t",
                table_uuid="u",
                base_snapshot_id=1,
                created_at=datetime.now(UTC),
                lease_token="theirs",
                lease_expires_at=7e9,
            )
        )
    assert run_service.get(service, "a", untold).status == "running"
    queue.sweep()
    assert status_of(service, untold).status == "running"
    with service.database.read() as connection:
        assert connection.execute(select(batches.c.lease_expires_at)).scalar_one() == 7e9


def test_a_run_that_the_database_did_not_let_begin_begins_when_it_does(
    service: Service, worker: Worker, add: Callable[..., str]
) -> None:
    refusals = [full()]

    def execute(of: Service, run_id: str) -> None:
        if refusals:
            raise Untold(run_id, "of a begin that was not", of_fault(refusals.pop()))
        worker(of, run_id)

    made = RunQueue(service, execute)
    run_id = add("a")
    made.submit(run_id, "a")
    assert made.wait_idle(SOON)
    assert status_of(service, run_id).status == "queued"
    made.sweep()
    assert worker.wait_for(1) == [run_id]
    worker.go.release()
    assert made.wait_idle(SOON)
    assert status_of(service, run_id).status == "success"
    made.close()
