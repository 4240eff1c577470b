"""Batches that a quality rule holds back: held, released, dropped. Each change of state is one transaction.

A held batch has no lease, its branch stays, and settling leaves it alone. Nobody has ever tried to publish it: the
verdict that allows that is written, under the lease, before the publish, and a batch that has one is never held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from autoloader_sdk.models import FileStatus
from autoloader_server.db.tables import batches, processed_files, runs
from autoloader_server.engine.batch_record import UNFINISHED, BatchStatus, Verdict
from autoloader_server.engine.lease import Lease
from autoloader_server.engine.run_log import say


@dataclass(frozen=True, slots=True)
class Held:
    """A held batch, as a run tells of it."""

    run_id: str
    files: int
    reason: str


def hold(connection: Connection, lease: Lease, batch_id: str, run_id: str, reason: str, records: int) -> None:
    """A staged batch that nobody has tried to publish waits for somebody's word. Raises LeaseLost."""
    lease.hold_batch(
        connection,
        batch_id,
        (BatchStatus.OPEN,),
        status=BatchStatus.HELD,
        reason=reason,
        run_id=run_id,
        records=records,
        lease_token=None,
        lease_owner=None,
        lease_expires_at=None,
    )
    files = _move(
        connection, batch_id, FileStatus.PROCESSING, status=FileStatus.HELD, reason=f"held: {reason}", run_id=run_id
    )
    connection.execute(update(runs).where(runs.c.id == run_id).values(files_held=runs.c.files_held + files))
    say(connection, run_id, f"batch {batch_id} is held: {reason}", "warning")


def release(connection: Connection, batch_id: str) -> None:
    """A held batch is to be published: whoever settles next claims it again. The ingestion is locked."""
    values = {"status": BatchStatus.OPEN, "verdict": Verdict.RELEASING, "reason": None}
    connection.execute(update(batches).where(batches.c.id == batch_id).values(**values))
    _move(connection, batch_id, FileStatus.HELD, status=FileStatus.PROCESSING, reason=None)


def drop(connection: Connection, batch_id: str, reason: str | None) -> None:
    """A held batch is to be burned, and its files are not loaded. The ingestion is locked."""
    dropped = f"dropped by a call; it was held: {reason}"
    values = {"status": BatchStatus.BURNING, "verdict": Verdict.DROPPED, "reason": dropped}
    connection.execute(update(batches).where(batches.c.id == batch_id).values(**values))
    _move(connection, batch_id, FileStatus.HELD, status=FileStatus.PROCESSING, reason=dropped)


def take_back(connection: Connection, ingestion_id: str) -> None:
    """The ingestion is cleared, refreshed or deleted: held batches are unfinished work of an older generation.

    Whoever settles next burns them, and their files wait. The ingestion is locked.
    """
    held = select(batches.c.id).where(batches.c.ingestion_id == ingestion_id, batches.c.status == BatchStatus.HELD)
    for batch_id in list(connection.execute(held).scalars()):
        connection.execute(update(batches).where(batches.c.id == batch_id).values(status=BatchStatus.OPEN))
        _move(connection, batch_id, FileStatus.HELD, status=FileStatus.PROCESSING, reason=None)


def forget_drops(connection: Connection, ingestion_id: str) -> None:
    """All files are to be loaded again, also those of dropped batches not burned yet. The ingestion is locked."""
    connection.execute(
        update(batches)
        .where(
            batches.c.ingestion_id == ingestion_id,
            batches.c.status.in_(UNFINISHED),
            batches.c.verdict == Verdict.DROPPED,
        )
        .values(verdict=None)
    )


def held_by(connection: Connection, ingestion_id: str) -> Sequence[Held]:
    """The batches that are held, oldest first."""
    rows = connection.execute(
        select(batches.c.run_id, batches.c.files, batches.c.reason)
        .where(batches.c.ingestion_id == ingestion_id, batches.c.status == BatchStatus.HELD)
        .order_by(batches.c.created_at)
    )
    return [Held(row.run_id, row.files, row.reason or "") for row in rows]


def _move(connection: Connection, batch_id: str, before: FileStatus, **values: Any) -> int:
    """Change those of a batch's files that have the status `before`; how many."""
    its = (processed_files.c.batch_id == batch_id, processed_files.c.status == before)
    return connection.execute(update(processed_files).where(*its).values(**values)).rowcount
