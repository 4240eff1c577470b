"""A batch's row: taken over, recorded as landed, burned; each change of state is one transaction.

A batch is changed only through `Lease.hold_batch`: a worker that lost its lease writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, insert, select, update

from autoloader_sdk.models import FileStatus
from autoloader_server.db.clock import now
from autoloader_server.db.engine import Database
from autoloader_server.db.locks import lock_ingestion
from autoloader_server.db.tables import batches, ingestions, processed_files, runs
from autoloader_server.engine import ledger
from autoloader_server.engine.errors import GenerationChanged
from autoloader_server.engine.lease import Lease
from autoloader_server.engine.ledger import FileVersion
from autoloader_server.engine.run_log import say
from autoloader_server.security.redact import redact


class BatchStatus(StrEnum):
    """How far a batch has come: begun, in the table, or on the way to where nothing of it can ever be published."""

    OPEN = "OPEN"
    LANDED = "LANDED"
    BURNING = "BURNING"
    BURNED = "BURNED"
    HELD = "HELD"
    """Staged, and held back by a quality rule until somebody releases or drops it. Nobody works on it."""


class Verdict(StrEnum):
    """What was decided about a batch's rows. Without one nobody may publish it, so nobody ever has."""

    PASSED = "PASSED"
    RELEASING = "RELEASING"
    """Held, and released by a call; whoever settles it claims it again."""
    RELEASED = "RELEASED"
    """Claimed again since: the table's history from then on tells whether it landed."""
    DROPPED = "DROPPED"
    """Held, and dropped by a call: when it is burned, its files are skipped."""


UNFINISHED = (BatchStatus.OPEN, BatchStatus.BURNING)
ENDED = (BatchStatus.LANDED, BatchStatus.BURNED)


@dataclass(frozen=True, slots=True)
class Batch:
    """A fixed set of file versions under one id."""

    id: str
    generation: int
    status: str
    table_id: str
    base_snapshot_id: int
    staged_snapshot_id: int | None
    lease_token: str | None
    lease_owner: dict[str, Any] | None
    verdict: str | None
    bad_records: int | None
    quarantine_snapshot_id: int | None
    replaces: bool


_BATCH_COLUMNS = (
    batches.c.id,
    batches.c.generation,
    batches.c.status,
    batches.c.table_uuid,
    batches.c.base_snapshot_id,
    batches.c.staged_snapshot_id,
    batches.c.lease_token,
    batches.c.lease_owner,
    batches.c.verdict,
    batches.c.bad_records,
    batches.c.quarantine_snapshot_id,
    batches.c.replaces,
)


@dataclass(frozen=True, slots=True)
class Landed:
    """What a batch brought into the table. `counted`: the rows per file are known already.

    `parent_id`: the snapshot that it stands on, where that is known.
    """

    snapshot_id: int
    records: int
    bytes: int
    counted: bool = False
    parent_id: int | None = None


def check_generation(connection: Connection, ingestion_id: str, generation: int) -> None:
    """Raises GenerationChanged where the ingestion was cleared, refreshed or deleted since."""
    row = connection.execute(
        select(ingestions.c.generation, ingestions.c.deleted_at).where(ingestions.c.id == ingestion_id)
    ).one_or_none()
    if row is None or row.deleted_at is not None or row.generation != generation:
        raise GenerationChanged(ingestion_id)


def store(connection: Connection, lease: Lease, batch_id: str, files: Sequence[FileVersion], **columns: Any) -> Batch:
    """A new batch of these files. `columns` are its run, ingestion, generation, table, and the table's snapshot."""
    connection.execute(
        insert(batches).values(
            id=batch_id,
            status=BatchStatus.OPEN,
            files=len(files),
            bytes=sum(file.size for file in files),
            created_at=now(),
            **columns,
            **lease.columns(),
        )
    )
    return get(connection, batch_id)


def get(connection: Connection, batch_id: str) -> Batch:
    return Batch(*connection.execute(select(*_BATCH_COLUMNS).where(batches.c.id == batch_id)).one())


def unfinished(connection: Connection, ingestion_id: str) -> list[Batch]:
    """Batches that somebody began and nobody ended."""
    rows = connection.execute(
        select(*_BATCH_COLUMNS)
        .where(batches.c.ingestion_id == ingestion_id, batches.c.status.in_(UNFINISHED))
        .order_by(batches.c.created_at)
    )
    return [Batch(*row) for row in rows]


def take_over(database: Database, lease: Lease, found: Batch, *, owner_dead: bool) -> bool:
    """Make another worker's batch ours, when its lease has expired or its owner is dead.

    Only if it is still held under the token that was seen.
    """
    with database.write() as connection:
        query = update(batches).where(batches.c.id == found.id, batches.c.status.in_(UNFINISHED))
        if found.lease_token is None:
            query = query.where(batches.c.lease_token.is_(None))
        else:
            query = query.where(batches.c.lease_token == found.lease_token)
            # What an earlier attempt of ours left is nobody else's to wait for.
            if not owner_dead and found.lease_token != lease.token:
                query = query.where(batches.c.lease_expires_at < database.clock)
        return connection.execute(query.values(**lease.columns())).rowcount == 1


def record(
    connection: Connection,
    lease: Lease,
    batch_id: str,
    ingestion_id: str,
    run_id: str,
    landed: Landed | None,
) -> None:
    """The batch is in the table: its files are SUCCESS, the run counts them. If nothing landed, they held no rows."""
    moment = now()
    records = landed.records if landed else 0
    totals = connection.execute(
        select(batches.c.files, batches.c.bytes, batches.c.bad_records, batches.c.table_uuid, batches.c.replaces).where(
            batches.c.id == batch_id
        )
    ).one()
    lease.hold_batch(
        connection,
        batch_id,
        UNFINISHED,
        status=BatchStatus.LANDED,
        run_id=run_id,
        published_snapshot_id=landed.snapshot_id if landed else None,
        records=records,
        counted=landed is None or landed.counted,
        ended_at=moment,
        lease_token=None,
    )
    if totals.replaces:
        ledger.replaced(connection, ingestion_id, batch_id)
    done: dict[str, Any] = {
        "status": FileStatus.SUCCESS,
        "run_id": run_id,
        "loaded_at": moment,
        "reason": None,
        "category": None,
        "attempts": processed_files.c.attempts + 1,
    }
    if landed is None:
        done["records"] = 0
    connection.execute(
        update(processed_files)
        .where(processed_files.c.batch_id == batch_id, processed_files.c.status == FileStatus.PROCESSING)
        .values(**done)
    )
    connection.execute(
        update(runs)
        .where(runs.c.id == run_id)
        .values(
            files_processed=runs.c.files_processed + totals.files,
            bytes_read=runs.c.bytes_read + totals.bytes,
            records_ingested=runs.c.records_ingested + records,
            bad_records=runs.c.bad_records + (totals.bad_records or 0),
            bytes_written=runs.c.bytes_written + (landed.bytes if landed else 0),
        )
    )
    rows = f"{records:,} rows are in the table" if landed is not None else "it held no rows"
    say(connection, run_id, f"batch {batch_id} has landed: {rows}")
    if landed is not None:
        connection.execute(
            update(ingestions)
            .where(ingestions.c.id == ingestion_id)
            .values(last_snapshot_id=landed.snapshot_id, table_uuid=totals.table_uuid)
        )


def count_bad(connection: Connection, lease: Lease, batch_id: str, bad: Mapping[str, int]) -> None:
    """How many bad records the files of a batch have, by path, before any of them is staged. Raises LeaseLost."""
    lease.hold_batch(connection, batch_id, (BatchStatus.OPEN,), bad_records=sum(bad.values()))
    files = processed_files.c
    for path, number in bad.items():
        connection.execute(
            update(processed_files)
            .where(files.batch_id == batch_id, files.path == path, files.status == FileStatus.PROCESSING)
            .values(bad_records=number)
        )


def begin_burning(connection: Connection, lease: Lease, batch_id: str, reason: str) -> int:
    """From here on only burning may go on. The number of this attempt, for its branch's name."""
    values = {"status": BatchStatus.BURNING, "reason": redact(reason), "attempt": batches.c.attempt + 1}
    lease.hold_batch(connection, batch_id, UNFINISHED, **values)
    return int(connection.execute(select(batches.c.attempt).where(batches.c.id == batch_id)).scalar_one())


def end_burning(connection: Connection, lease: Lease, batch_id: str) -> None:
    """Nothing of this batch can ever be published: its files wait again, or are skipped where it was dropped."""
    lease.hold_batch(connection, batch_id, UNFINISHED, status=BatchStatus.BURNED, ended_at=now(), lease_token=None)
    _let_files_go(connection, batch_id)


def end_dropped(connection: Connection, ingestion_id: str, old: int, there: str | None) -> None:
    """End the unfinished batches up to generation `old` of tables that were dropped, all but `there`.

    With their table nothing of them can ever be published: their files wait again, and a worker that still has the
    lease of one finds it gone.
    """
    lock_ingestion(connection, ingestion_id)
    dropped = select(batches.c.id).where(
        batches.c.ingestion_id == ingestion_id,
        batches.c.generation <= old,
        batches.c.status.in_(UNFINISHED),
        batches.c.table_uuid != (there or ""),
    )
    for batch_id in list(connection.execute(dropped).scalars()):
        _let_files_go(connection, batch_id)
        connection.execute(
            update(batches)
            .where(batches.c.id == batch_id)
            .values(
                status=BatchStatus.BURNED,
                reason="its table was dropped by a refresh",
                ended_at=now(),
                lease_token=None,
                branches_dropped=True,
            )
        )


def _let_files_go(connection: Connection, batch_id: str) -> None:
    verdict = connection.execute(select(batches.c.verdict).where(batches.c.id == batch_id)).scalar()
    values: dict[str, Any] = {
        "status": FileStatus.DISCOVERED,
        "batch_id": None,
        "reason": None,
        "bad_records": None,
    }
    if verdict == Verdict.DROPPED:
        # The reason was written by whoever dropped it.
        values = {"status": FileStatus.SKIPPED}
    connection.execute(
        update(processed_files)
        .where(processed_files.c.batch_id == batch_id, processed_files.c.status == FileStatus.PROCESSING)
        .values(**values)
    )
