"""Two transactions meet on PostgreSQL, where nothing but our locks keeps them apart: each sees what the other did."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, insert, select, text, update
from tests.chaos.waiting import until
from tests.parts.postgres import PostgresServer

from autoloader_sdk.discovery.entries import Entry
from autoloader_sdk.discovery.store import LocalStore
from autoloader_sdk.models import FileStatus, IngestionCreate, IngestionUpdate
from autoloader_server.db.engine import Database
from autoloader_server.db.locks import lock_ingestion
from autoloader_server.db.migrate import ledger_id, migrate
from autoloader_server.db.tables import batches, idempotency_keys, ingestions, processed_files, runs, schema_versions
from autoloader_server.engine import batch_record, discover, ledger, run_record, schema_record
from autoloader_server.engine import begin as begin_run
from autoloader_server.engine.batch_record import Batch
from autoloader_server.engine.claim import claim_batch
from autoloader_server.engine.errors import GenerationChanged, LeaseLost
from autoloader_server.engine.formats.base import Look
from autoloader_server.engine.iceberg import Snapshot
from autoloader_server.engine.lease import Lease
from autoloader_server.engine.quality import judge
from autoloader_server.engine.work import Ready, Work
from autoloader_server.service import Service
from autoloader_server.services import idempotency
from autoloader_server.services import ingestions as ingestion_service
from autoloader_server.services import runs as run_service
from autoloader_server.services.batches import decide
from autoloader_server.services.clear import clear_processed_files
from autoloader_server.services.errors import Conflict
from autoloader_server.settings import Settings

SOON = 30.0
PATH = "/source/a.csv"


@pytest.fixture
def url(postgres: PostgresServer, postgres_template: str) -> Iterator[str]:
    made = postgres.make_database(postgres_template)
    yield made
    postgres.drop_database(made)


@pytest.fixture
def services(url: str, tmp_path: Path) -> Iterator[list[Service]]:
    """Two processes of the service, as far as the database can tell. Neither carries out any run."""
    opened = []
    for name in ("one", "two"):
        opened.append(Service.open(Settings.load(home=tmp_path / name, database_url=url)))
        opened[-1].queue.close()
    yield opened
    for each in opened:
        each.close()


def meet(one: Database, first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Any, Any]:
    """`second` begins when `first` is about to commit its first writing; what both gave, or raised.

    `first` goes on as soon as `second` has ended, or waits for a lock.
    """
    about_to_commit, go_on = threading.Event(), threading.Event()

    def pause(connection: Connection) -> None:
        writes = connection.get_execution_options().get("autoloader_write", False)
        if threading.current_thread().name.startswith("first") and writes and not about_to_commit.is_set():
            about_to_commit.set()
            assert go_on.wait(SOON)

    event.listen(one.engine, "commit", pause)
    with ThreadPoolExecutor(1, "first") as left, ThreadPoolExecutor(1, "second") as right:
        a: Future[Any] = left.submit(first)
        until(lambda: about_to_commit.is_set() or a.done(), "the first is about to commit", SOON)
        b: Future[Any] = right.submit(second)
        try:
            until(lambda: b.done() or _somebody_waits(one), "the second waits, or has ended", SOON)
        finally:
            go_on.set()
        results = (a.exception(SOON) or a.result(), b.exception(SOON) or b.result())
    event.remove(one.engine, "commit", pause)
    return results


def _somebody_waits(database: Database) -> bool:
    with database.read() as connection:
        waits = text("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
        return connection.execute(waits).first() is not None


def spec(name: str = "orders") -> IngestionCreate:
    return IngestionCreate.model_validate(
        {
            "name": name,
            "source": {"type": "local", "path": "/source"},
            "format": {"type": "csv"},
            "destination": {"catalog": "lake", "database": "b", "table": "t"},
        }
    )


@pytest.fixture
def ingestion(services: list[Service]) -> str:
    return ingestion_service.create(services[0], spec()).id


def begin(service: Service, run_id: str) -> Work | None:
    return begin_run.begin(service, run_id, Lease(service.database, run_id, seconds=60, renew_seconds=15))


def add_run(service: Service, ingestion_id: str, status: str = "queued", **values: Any) -> str:
    run_id = str(uuid.uuid4())
    row = {"id": run_id, "ingestion_id": ingestion_id, "status": status, "trigger": "manual"}
    with service.database.write() as connection:
        connection.execute(insert(runs).values(row | {"created_at": datetime.now(UTC)} | values))
    return run_id


def working(service: Service, ingestion_id: str) -> Work:
    """A run that has begun."""
    work = begin(service, add_run(service, ingestion_id))
    assert work is not None
    return work


def add_file(service: Service, ingestion_id: str) -> ledger.FileVersion:
    entry = Entry(PATH, 1, 10**18)
    with service.database.write() as connection:
        values = {"ingestion_id": ingestion_id, "status": FileStatus.DISCOVERED, **ledger.listed(entry)}
        connection.execute(insert(processed_files).values(values))
    with service.database.read() as connection:
        (found,) = ledger.waiting(connection, ingestion_id, 10)
    return found


def count(service: Service, table: Any) -> int:
    with service.database.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def test_two_processes_that_start_together_make_the_tables_once(postgres: PostgresServer) -> None:
    url = postgres.make_database()
    one, two = Database(url), Database(url)
    assert meet(one, lambda: migrate(one), lambda: migrate(two)) == (None, None)
    assert len({*meet(one, lambda: ledger_id(one), lambda: ledger_id(two))}) == 1
    one.close()
    two.close()
    postgres.drop_database(url)


def test_a_queued_run_is_taken_by_one_worker(services: list[Service], ingestion: str) -> None:
    one, two = services
    run_id = add_run(one, ingestion)
    first, second = meet(one.database, lambda: begin(one, run_id), lambda: begin(two, run_id))
    assert isinstance(first, Work)
    assert second is None


def test_a_dead_workers_ingestion_is_taken_by_one_worker(services: list[Service], ingestion: str) -> None:
    one, two = services
    dead = add_run(one, ingestion, "running", lease_token="x", lease_expires_at=0.0, lease_owner={})
    run_id = add_run(one, ingestion)
    first, second = meet(one.database, lambda: begin(one, run_id), lambda: begin(two, run_id))
    assert isinstance(first, Work)
    assert second is None
    with one.database.read() as connection:
        row = connection.execute(select(runs).where(runs.c.id == dead)).one()
    assert (row.status, row.error_count) == ("failed", 0)
    assert count(one, runs) == 2


def test_a_run_that_is_asked_for_while_one_starts_waits_behind_it(services: list[Service], ingestion: str) -> None:
    one, two = services
    run_id = add_run(one, ingestion)
    work, receipt = meet(one.database, lambda: begin(one, run_id), lambda: run_service.request(two, ingestion))
    assert isinstance(work, Work)
    assert receipt.run_id != run_id
    assert run_id in receipt.message


def test_two_requests_at_once_get_the_receipt_of_one_run(services: list[Service], ingestion: str) -> None:
    one, two = services
    first, second = meet(
        one.database, lambda: run_service.request(one, ingestion), lambda: run_service.request(two, ingestion)
    )
    assert first.run_id == second.run_id
    assert count(one, runs) == 1


def test_a_path_is_claimed_for_a_table_by_one_ingestion(services: list[Service]) -> None:
    works, files = [], []
    for service in services:
        made = ingestion_service.create(service, spec()).id
        files.append(add_file(service, made))
        works.append(working(service, made))
    looks = [Look(PATH, 1, group=0)]
    (batch, taken), (none, nothing) = meet(
        services[0].database,
        lambda: claim_batch(works[0], Ready("table", 1), files[:1], looks, replaces=False),
        lambda: claim_batch(works[1], Ready("table", 1), files[1:], looks, replaces=False),
    )
    assert batch is not None
    assert taken == files[:1]
    assert (none, nothing) == (None, [])
    assert works[1].left_to_others == {files[1].id}


def few_rows(service: Service) -> tuple[Work, Batch]:
    """A claimed batch of a new ingestion that holds what has fewer than 5 rows."""
    quality = {"row_count_threshold": 5, "on_low_row_count": "hold"}
    made = ingestion_service.create(service, IngestionCreate.model_validate({**spec().wire(), "quality": quality})).id
    file, work = add_file(service, made), working(service, made)
    batch, _ = claim_batch(work, Ready("table", 1), [file], [Look(PATH, 1, group=0)], replaces=False)
    assert batch is not None
    return work, batch


def hold(work: Work, batch: Batch) -> bool:
    staged = Snapshot(id=2, parent_id=1, wap_id=batch.id, committed_us=0, data_files=1, records=1, bytes=1)
    return not judge(work, batch, staged)


def state(service: Service, batch: Batch) -> tuple[str, str]:
    """Of the batch, and of its file."""
    with service.database.read() as connection:
        of_batch = connection.execute(select(batches.c.status).where(batches.c.id == batch.id)).scalar_one()
        its = processed_files.c.batch_id == batch.id
        return of_batch, connection.execute(select(processed_files.c.status).where(its)).scalar_one()


def test_of_a_release_and_a_drop_one_counts_and_the_other_is_refused(services: list[Service]) -> None:
    one, two = services
    work, batch = few_rows(one)
    assert hold(work, batch)
    assert state(one, batch) == ("HELD", "HELD")
    receipt, refused = meet(
        one.database,
        lambda: decide(one, work.ingestion_id, batch.id, "release"),
        lambda: decide(two, work.ingestion_id, batch.id, "drop"),
    )
    assert receipt.status == "accepted"
    assert isinstance(refused, Conflict)
    assert state(one, batch) == ("OPEN", "PROCESSING")


def test_what_is_held_while_the_ingestion_is_cleared_is_taken_back(services: list[Service]) -> None:
    one, two = services
    work, batch = few_rows(one)
    meet(one.database, lambda: hold(work, batch), lambda: clear_processed_files(two, work.ingestion_id))
    assert state(one, batch) == ("OPEN", "PROCESSING")


def test_nothing_is_held_once_the_ingestion_is_cleared(services: list[Service]) -> None:
    one, two = services
    work, batch = few_rows(one)
    _, refused = meet(two.database, lambda: clear_processed_files(two, work.ingestion_id), lambda: hold(work, batch))
    assert isinstance(refused, GenerationChanged)
    assert state(one, batch) == ("OPEN", "PROCESSING")


def test_a_file_is_written_down_by_one_listing(
    services: list[Service], ingestion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discover, "list_source", lambda store, pattern: iter([[Entry(PATH, 1, 10**18)]]))
    moment = datetime.now(UTC)

    def listing(service: Service) -> discover.Found:
        hold = partial(lock_ingestion, ingestion_id=ingestion)
        return discover.discover(service.database, ingestion, LocalStore("/source"), spec(), moment, hold)

    first, second = meet(services[0].database, lambda: listing(services[0]), lambda: listing(services[1]))
    assert (first.new, second.new) == (1, 0)
    assert count(services[0], processed_files) == 1


def test_a_run_cannot_be_ended_while_its_worker_writes(services: list[Service], ingestion: str) -> None:
    one, two = services
    work = working(one, ingestion)
    file = add_file(one, ingestion)
    waiting = add_run(one, ingestion)
    with one.database.write() as connection:
        connection.execute(update(runs).values(lease_expires_at=0.0))

    def write() -> str:
        with one.database.write() as connection:
            work.lease.hold_run(connection)
            connection.execute(update(processed_files).where(processed_files.c.id == file.id).values(reason="written"))
        return "written"

    def take_over() -> str | None:
        assert begin(two, waiting) is not None
        with two.database.read() as connection:
            return connection.execute(select(processed_files.c.reason)).scalar_one()

    assert meet(one.database, write, take_over) == ("written", "written")
    with pytest.raises(LeaseLost):
        write()


def test_each_of_two_clears_raises_the_generation(services: list[Service], ingestion: str) -> None:
    one, two = services
    meet(one.database, lambda: clear_processed_files(one, ingestion), lambda: clear_processed_files(two, ingestion))
    with one.database.read() as connection:
        assert connection.execute(select(ingestions.c.generation)).scalar_one() == 2


def test_of_two_changes_none_is_lost(services: list[Service], ingestion: str) -> None:
    one, two = services
    mails = IngestionUpdate.model_validate({"alert_recipients": ["a@example.org"]})
    hourly = IngestionUpdate.model_validate({"schedule": {"frequency": "hourly"}})
    meet(
        one.database,
        lambda: ingestion_service.change(one, ingestion, mails),
        lambda: ingestion_service.change(two, ingestion, hourly),
    )
    with one.database.read() as connection:
        stored = connection.execute(select(ingestions.c.spec)).scalar_one()
    assert stored["quality"]["alert_recipients"] == ["a@example.org"]
    assert stored["schedule"]["frequency"] == "hourly"


def test_a_name_that_is_to_be_unique_is_given_once(services: list[Service]) -> None:
    one, two = services
    first, second = meet(
        one.database,
        lambda: ingestion_service.create(one, spec(), unique_name=True),
        lambda: ingestion_service.create(two, spec(), unique_name=True),
    )
    assert first.name == "orders"
    assert isinstance(second, Conflict)


def test_an_ingestion_that_is_asked_for_twice_under_one_key_is_made_once(services: list[Service]) -> None:
    one, two = services
    first, second = meet(
        one.database,
        lambda: ingestion_service.create(one, spec(), idempotency_key="k"),
        lambda: ingestion_service.create(two, spec(), idempotency_key="k"),
    )
    assert first.id == second.id


def test_a_schema_version_that_is_meant_is_there_once(services: list[Service], ingestion: str) -> None:
    work = working(services[0], ingestion)

    def write() -> None:
        with services[0].database.write() as connection:
            work.lease.hold_run(connection)
            schema_record.intend(connection, ingestion, {}, [], strategy="append_new_columns")

    assert meet(services[0].database, write, write) == (None, None)
    with services[0].database.read() as connection:
        assert connection.execute(select(schema_versions.c.version)).scalars().all() == [2]


def test_a_request_that_was_given_up_is_done_again_by_one(services: list[Service]) -> None:
    one, two = services
    with one.database.write() as connection:
        long_ago = datetime.now(UTC) - timedelta(minutes=10)
        connection.execute(insert(idempotency_keys).values(key="k", request="r", created_at=long_ago))
    first, second = meet(
        one.database,
        lambda: idempotency.begin(one.database, "k", "r"),
        lambda: idempotency.begin(two.database, "k", "r"),
    )
    assert first is None
    assert isinstance(second, idempotency.StillWorking)


def test_a_deleted_ingestion_gets_one_run_that_takes_back_what_it_left(services: list[Service], ingestion: str) -> None:
    one, two = services
    work = working(one, ingestion)
    file = add_file(one, ingestion)
    claim_batch(work, Ready("table", 1), [file], [Look(PATH, 1, group=0)], replaces=False)
    with one.database.write() as connection:
        connection.execute(update(ingestions).values(deleted_at=datetime.now(UTC)))
        connection.execute(update(runs).values(status="failed", lease_token=None))
    first, second = meet(
        one.database,
        lambda: ingestion_service.queue_deletion_runs(one.database),
        lambda: ingestion_service.queue_deletion_runs(two.database),
    )
    assert len(first) == 1
    assert second == []


def test_renewing_and_working_never_wait_for_each_other(services: list[Service], ingestion: str) -> None:
    """What they write are the same rows: the run's and its batch's."""
    one, _ = services
    work = working(one, ingestion)
    batch, _ = claim_batch(
        work, Ready("table", 1), [add_file(one, ingestion)], [Look(PATH, 1, group=0)], replaces=False
    )
    assert batch is not None
    rounds = 150

    def renew() -> None:
        for _ in range(rounds):
            assert work.lease._renew_once()

    def write() -> None:
        for number in range(rounds):
            with one.database.write() as connection:
                work.lease.hold_batch(connection, batch.id, batch_record.UNFINISHED, records=number)
                run_record.progress(connection, work.run_id, str(number))

    def end() -> None:
        for number in range(rounds):
            with one.database.write() as connection:
                work.lease.hold_run(connection)
                run_record.progress(connection, work.run_id, str(number))
                connection.execute(update(batches).where(batches.c.id == batch.id).values(reason=str(number)))

    with ThreadPoolExecutor(3) as pool:
        for each in [pool.submit(renew), pool.submit(write), pool.submit(end)]:
            each.result(SOON * 2)
