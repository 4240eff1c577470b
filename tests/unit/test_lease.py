"""Who owns a piece of work: told by process, boot and host, renewed by a thread, worth nothing once lost."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psutil
import pytest
from sqlalchemy import insert, select, update

from autoloader_server.db.engine import Database
from autoloader_server.db.tables import batches, runs
from autoloader_server.engine import batch_record
from autoloader_server.engine import lease as module
from autoloader_server.engine.batch_record import UNFINISHED, BatchStatus
from autoloader_server.engine.errors import LeaseLost
from autoloader_server.engine.lease import Lease, owner_is_dead, this_owner
from autoloader_server.spark.processes import ProcessIdentity

SOON = 20.0


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()


def owner_of(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    identity = ProcessIdentity.of(process.pid)
    assert identity is not None
    return {**this_owner(), "pid": identity.pid, "started": identity.started}


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON
    event = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        event.wait(0.02)


def test_this_process_is_alive() -> None:
    assert not owner_is_dead(this_owner())


def test_nobody_is_dead() -> None:
    assert owner_is_dead(None)
    assert owner_is_dead({})


def test_another_process_is_alive_until_it_has_gone(child: subprocess.Popen[bytes]) -> None:
    owner = owner_of(child)
    assert not owner_is_dead(owner)
    child.kill()
    child.wait()
    assert owner_is_dead(owner)


def test_a_zombie_that_nobody_waited_for_is_dead(child: subprocess.Popen[bytes]) -> None:
    owner = owner_of(child)
    child.kill()
    until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
    assert owner_is_dead(owner)


def test_a_stopped_process_is_alive(child: subprocess.Popen[bytes]) -> None:
    owner = owner_of(child)
    psutil.Process(child.pid).suspend()
    assert not owner_is_dead(owner)


def test_a_pid_that_was_given_to_another_process_is_not_the_owner(child: subprocess.Popen[bytes]) -> None:
    owner = owner_of(child)
    boot, _, ticks = owner["started"].rpartition(":")
    assert owner_is_dead({**owner, "started": f"{boot}:{int(ticks) - 5}"})


def test_whoever_owned_before_this_host_was_booted_is_dead() -> None:
    ticks = this_owner()["started"].rpartition(":")[2]
    assert owner_is_dead({**this_owner(), "started": f"another-boot:{ticks}", "pid_namespace": "pid:[1]"})


@pytest.mark.parametrize(
    "elsewhere",
    [{"host": "another-host"}, {"pid_namespace": "pid:[1]"}],
    ids=["another host", "a container"],
)
def test_where_one_cannot_look_nobody_is_called_dead(elsewhere: dict[str, str]) -> None:
    no_process = {"pid": 2**22 + 1}
    assert owner_is_dead({**this_owner(), **no_process})
    assert not owner_is_dead({**this_owner(), **no_process, **elsewhere})


def add_run(database: Database, lease: Lease | None, run_id: str) -> None:
    with database.write() as connection:
        connection.execute(
            insert(runs).values(
                id=run_id,
                ingestion_id="ing-1",
                status="running",
                trigger="manual",
                created_at=datetime.now(UTC),
                **(lease.columns() if lease else {}),
            )
        )


def add_batch(database: Database, lease: Lease, batch_id: str, status: str = BatchStatus.OPEN) -> None:
    with database.write() as connection:
        connection.execute(
            insert(batches).values(
                id=batch_id,
                ingestion_id="ing-1",
                run_id="run-1",
                generation=0,
                status=status,
                files=1,
                bytes=1,
                table_name="t",
                table_uuid="u",
                base_snapshot_id=1,
                created_at=datetime.now(UTC),
                **lease.columns(),
            )
        )


def expiry(database: Database, table: Any, row_id: str) -> float:
    with database.read() as connection:
        found = connection.execute(select(table.c.lease_expires_at).where(table.c.id == row_id)).scalar_one()
    return float(found)


def clock(database: Database) -> float:
    with database.read() as connection:
        return float(connection.execute(select(database.clock)).scalar_one())


def test_the_databases_clock_is_epoch_seconds_with_fractions(database: Database) -> None:
    assert abs(clock(database) - time.time()) < 60
    assert any(clock(database) % 1 for _ in range(5))


def test_a_lease_ends_so_many_seconds_after_the_databases_clock(database: Database) -> None:
    lease = Lease(database, "run-1", seconds=60, renew_seconds=15)
    before = clock(database)
    add_run(database, lease, "run-1")
    assert before + 60 - 0.01 <= expiry(database, runs, "run-1") <= clock(database) + 60.01


def test_renewing_moves_the_end_of_the_run_and_of_its_batch(database: Database) -> None:
    lease = Lease(database, "run-1", seconds=60, renew_seconds=15)
    add_run(database, lease, "run-1")
    add_batch(database, lease, "b-1")
    other = Lease(database, "run-2", seconds=60, renew_seconds=15)
    add_run(database, other, "run-2")
    with database.write() as connection:
        connection.execute(update(runs).values(lease_expires_at=1.0))
        connection.execute(update(batches).values(lease_expires_at=1.0))
    assert lease._renew_once()
    assert expiry(database, runs, "run-1") > clock(database) + 50
    assert expiry(database, batches, "b-1") > clock(database) + 50
    assert expiry(database, runs, "run-2") == 1.0, "another worker's lease is not ours to renew"


def test_the_thread_renews_while_the_work_goes_on(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CANCEL_POLL_SECONDS", 0.02)
    lease = Lease(database, "run-1", seconds=60, renew_seconds=0)
    add_run(database, lease, "run-1")
    with database.write() as connection:
        connection.execute(update(runs).values(lease_expires_at=1.0))
    lease.start()
    try:
        until(lambda: expiry(database, runs, "run-1") > 1.0)
        lease.check()
    finally:
        lease.stop()


def test_a_worker_whose_run_was_ended_learns_that_its_lease_is_lost(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CANCEL_POLL_SECONDS", 0.02)
    lease = Lease(database, "run-1", seconds=60, renew_seconds=0)
    add_run(database, lease, "run-1")
    with database.write() as connection:
        connection.execute(update(runs).values(lease_token=None))
    lease.start()
    try:
        until(lease._lost.is_set)
        with pytest.raises(LeaseLost):
            lease.check()
    finally:
        lease.stop()


def test_asking_for_a_cancellation_interrupts_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CANCEL_POLL_SECONDS", 0.02)
    lease = Lease(database, "run-1", seconds=60, renew_seconds=15)
    interrupted: list[int] = []
    lease.on_cancel = lambda: interrupted.append(1)
    add_run(database, lease, "run-1")
    lease.start()
    try:
        assert not lease.cancelled.is_set()
        with database.write() as connection:
            connection.execute(update(runs).values(cancel_requested=True))
        until(lambda: bool(interrupted))
        assert lease.cancelled.is_set()
        lease._look_for_cancel()
        assert interrupted == [1]
    finally:
        lease.stop()


@pytest.mark.parametrize("status", [BatchStatus.OPEN, BatchStatus.BURNING])
def test_the_owner_changes_its_batch(database: Database, status: str) -> None:
    lease = Lease(database, "run-1", seconds=60, renew_seconds=15)
    add_batch(database, lease, "b-1", status)
    with database.write() as connection:
        lease.hold_batch(connection, "b-1", UNFINISHED, staged_snapshot_id=7)
    with database.read() as connection:
        assert connection.execute(select(batches.c.staged_snapshot_id)).scalar() == 7


def test_a_worker_that_lost_its_batch_changes_nothing(database: Database) -> None:
    mine = Lease(database, "run-1", seconds=60, renew_seconds=15)
    theirs = Lease(database, "run-2", seconds=60, renew_seconds=15)
    add_batch(database, mine, "b-1")
    with database.read() as connection:
        found = batch_record.get(connection, "b-1")
    assert not batch_record.take_over(database, theirs, found, owner_dead=False), "it is leased"
    assert batch_record.take_over(database, mine, found, owner_dead=False), "an earlier attempt of ours had it"
    assert batch_record.take_over(database, theirs, found, owner_dead=True)

    def write() -> None:
        with database.write() as connection:
            connection.execute(update(batches).values(reason="written before the check"))
            mine.hold_batch(connection, "b-1", UNFINISHED, staged_snapshot_id=7)

    with pytest.raises(LeaseLost):
        write()
    with database.read() as connection:
        row = connection.execute(select(batches.c.staged_snapshot_id, batches.c.reason)).one()
    assert tuple(row) == (None, None), "its whole transaction was rolled back"


def test_a_worker_holds_its_run_until_somebody_ends_it(database: Database) -> None:
    lease = Lease(database, "run-1", seconds=60, renew_seconds=15)
    add_run(database, lease, "run-1")
    with database.write() as connection:
        lease.hold_run(connection)
        connection.execute(update(runs).values(lease_token=None))
    with pytest.raises(LeaseLost), database.write() as connection:
        lease.hold_run(connection)


def test_a_batch_that_ended_is_nobodys_to_change(database: Database) -> None:
    lease = Lease(database, "run-1", seconds=60, renew_seconds=15)
    add_batch(database, lease, "b-1", BatchStatus.LANDED)
    with pytest.raises(LeaseLost), database.write() as connection:
        lease.hold_batch(connection, "b-1", UNFINISHED, status=BatchStatus.BURNING)


def test_an_expired_lease_is_taken_over_by_one_worker_only(database: Database) -> None:
    mine = Lease(database, "run-1", seconds=60, renew_seconds=15)
    add_batch(database, mine, "b-1")
    with database.write() as connection:
        connection.execute(update(batches).values(lease_expires_at=database.clock - 0.001))
    with database.read() as connection:
        found = batch_record.get(connection, "b-1")
    takers = [Lease(database, f"run-{n}", seconds=60, renew_seconds=15) for n in (2, 3)]
    assert [batch_record.take_over(database, each, found, owner_dead=False) for each in takers] == [True, False]


def test_a_token_belongs_to_one_worker() -> None:
    nobody: Any = None
    tokens = {Lease(nobody, "run-1", seconds=60, renew_seconds=15).token for _ in range(100)}
    assert len(tokens) == 100
