"""The ledger: file versions and batches as rows, and each change of state as one transaction.

Every function here takes the caller's connection, so that a step of a load is one transaction, and changes a batch only
through `Lease.hold_batch`: a worker that lost its lease writes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from autoloader_sdk.discovery.entries import Entry, identity
from autoloader_server.db.engine import ROWS_PER_TRANSACTION, Database
from autoloader_server.db.tables import batches, ingestions, processed_files, run_errors, runs
from autoloader_server.engine.errors import FileFailure, GenerationChanged
from autoloader_server.engine.lease import Lease
from autoloader_server.security.redact import redact

DISCOVERED = "DISCOVERED"
PROCESSING = "PROCESSING"
SUCCESS = "SUCCESS"
FAILED = "FAILED"
SKIPPED = "SKIPPED"
HELD = "HELD"

OPEN = "OPEN"
LANDED = "LANDED"
BURNING = "BURNING"
BURNED = "BURNED"
UNFINISHED = (OPEN, BURNING)

# A failed file is tried again after 1, 2, 4, … minutes, an hour at most.
_BACKOFF = timedelta(minutes=1)
_MAX_BACKOFF = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class FileVersion:
    """A file version that waits to be loaded, or is being loaded."""

    id: int
    path: str
    identity: str
    size: int


@dataclass(frozen=True, slots=True)
class Batch:
    """A fixed set of file versions under one id."""

    id: str
    ingestion_id: str
    run_id: str
    generation: int
    status: str
    attempt: int
    table_id: str
    base_snapshot_id: int
    staged_snapshot_id: int | None
    lease_token: str | None
    lease_owner: dict[str, Any] | None
    lease_expires_at: float | None


_BATCH_COLUMNS = (
    batches.c.id,
    batches.c.ingestion_id,
    batches.c.run_id,
    batches.c.generation,
    batches.c.status,
    batches.c.attempt,
    batches.c.table_uuid,
    batches.c.base_snapshot_id,
    batches.c.staged_snapshot_id,
    batches.c.lease_token,
    batches.c.lease_owner,
    batches.c.lease_expires_at,
)


@dataclass(frozen=True, slots=True)
class Landed:
    """What a batch brought into the table. `counted`: the rows per file are known already."""

    snapshot_id: int
    records: int
    bytes: int
    counted: bool = False


def now() -> datetime:
    return datetime.now(UTC)


def check_generation(connection: Connection, ingestion_id: str, generation: int) -> None:
    """Raises GenerationChanged where the ingestion was cleared, refreshed or deleted since."""
    row = connection.execute(
        select(ingestions.c.generation, ingestions.c.deleted_at).where(ingestions.c.id == ingestion_id)
    ).one_or_none()
    if row is None or row.deleted_at is not None or row.generation != generation:
        raise GenerationChanged(ingestion_id)


def waiting(connection: Connection, ingestion_id: str, limit: int) -> list[FileVersion]:
    """The next current file versions to load, in the order in which they were found."""
    files = processed_files.c
    rows = connection.execute(
        select(files.id, files.path, files.identity, files.size)
        .where(files.ingestion_id == ingestion_id, files.status == DISCOVERED, files.current)
        .order_by(files.id)
        .limit(limit)
    )
    return [FileVersion(*row) for row in rows]


def count_waiting(connection: Connection, ingestion_id: str) -> int:
    files = processed_files.c
    return connection.execute(
        select(func.count()).where(files.ingestion_id == ingestion_id, files.status == DISCOVERED, files.current)
    ).scalar_one()


def first_bytes(files: Sequence[FileVersion], most_bytes: int) -> list[FileVersion]:
    """The first files of at most so many bytes; one that is larger by itself comes alone."""
    chosen: list[FileVersion] = []
    total = 0
    for file in files:
        total += file.size
        if chosen and total > most_bytes:
            break
        chosen.append(file)
    return chosen


def claim(
    connection: Connection, lease: Lease, files: Sequence[FileVersion], **columns: Any
) -> tuple[str, list[FileVersion]]:
    """Store a batch of those of `files` that still wait, and take them. The batch's id and what is in it.

    `columns` are the batch's further columns: run, ingestion, generation, table, its identity and snapshot.
    """
    batch_id = uuid.uuid4().hex
    taken: list[FileVersion] = []
    for part in _parts(files):
        still = set(
            connection.execute(
                select(processed_files.c.id).where(
                    processed_files.c.id.in_([file.id for file in part]),
                    processed_files.c.status == DISCOVERED,
                    processed_files.c.current,
                )
            ).scalars()
        )
        chosen = [file for file in part if file.id in still]
        taken += chosen
        if chosen:
            connection.execute(
                update(processed_files)
                .where(processed_files.c.id.in_([file.id for file in chosen]))
                .values(
                    status=PROCESSING,
                    batch_id=batch_id,
                    run_id=columns["run_id"],
                    reason=None,
                    category=None,
                )
            )
    if taken:
        connection.execute(
            insert(batches).values(
                id=batch_id,
                status=OPEN,
                files=len(taken),
                bytes=sum(file.size for file in taken),
                created_at=now(),
                **columns,
                **lease.columns(),
            )
        )
    return batch_id, taken


def batch(connection: Connection, batch_id: str) -> Batch:
    return _batch(connection.execute(select(*_BATCH_COLUMNS).where(batches.c.id == batch_id)).one())


def unfinished(connection: Connection, ingestion_id: str) -> list[Batch]:
    """Batches that somebody began and nobody ended."""
    rows = connection.execute(
        select(*_BATCH_COLUMNS)
        .where(batches.c.ingestion_id == ingestion_id, batches.c.status.in_(UNFINISHED))
        .order_by(batches.c.created_at)
    )
    return [_batch(row) for row in rows]


def files_of(connection: Connection, batch_id: str) -> list[FileVersion]:
    files = processed_files.c
    rows = connection.execute(
        select(files.id, files.path, files.identity, files.size)
        .where(files.batch_id == batch_id, files.status == PROCESSING)
        .order_by(files.id)
    )
    return [FileVersion(*row) for row in rows]


def take_over(database: Database, lease: Lease, found: Batch, *, owner_dead: bool, force: bool = False) -> bool:
    """Make another worker's batch ours: when its lease has expired, its owner is dead, or by `force`.

    Only if it is still held under the token that was seen. By force is for work that is to be burned anyway.
    """
    with database.write() as connection:
        query = update(batches).where(batches.c.id == found.id, batches.c.status.in_(UNFINISHED))
        if found.lease_token is None:
            query = query.where(batches.c.lease_token.is_(None))
        else:
            query = query.where(batches.c.lease_token == found.lease_token)
            if not owner_dead and not force:
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
        select(batches.c.files, batches.c.bytes, batches.c.table_uuid).where(batches.c.id == batch_id)
    ).one()
    lease.hold_batch(
        connection,
        batch_id,
        UNFINISHED,
        status=LANDED,
        run_id=run_id,
        published_snapshot_id=landed.snapshot_id if landed else None,
        records=records,
        counted=landed is None or landed.counted,
        ended_at=moment,
        lease_token=None,
    )
    done: dict[str, Any] = {
        "status": SUCCESS,
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
        .where(processed_files.c.batch_id == batch_id, processed_files.c.status == PROCESSING)
        .values(**done)
    )
    connection.execute(
        update(runs)
        .where(runs.c.id == run_id)
        .values(
            files_processed=runs.c.files_processed + totals.files,
            bytes_read=runs.c.bytes_read + totals.bytes,
            records_ingested=runs.c.records_ingested + records,
            bytes_written=runs.c.bytes_written + (landed.bytes if landed else 0),
        )
    )
    if landed is not None:
        connection.execute(
            update(ingestions)
            .where(ingestions.c.id == ingestion_id)
            .values(last_snapshot_id=landed.snapshot_id, table_uuid=totals.table_uuid)
        )


def begin_burning(connection: Connection, lease: Lease, batch_id: str, reason: str) -> int:
    """From here on only burning may go on. The number of this attempt, for its branch's name."""
    lease.hold_batch(connection, batch_id, UNFINISHED, status=BURNING, reason=reason, attempt=batches.c.attempt + 1)
    return int(connection.execute(select(batches.c.attempt).where(batches.c.id == batch_id)).scalar_one())


def end_burning(connection: Connection, lease: Lease, batch_id: str) -> None:
    """Nothing of this batch can ever be published: its files wait again."""
    lease.hold_batch(connection, batch_id, UNFINISHED, status=BURNED, ended_at=now(), lease_token=None)
    connection.execute(
        update(processed_files)
        .where(processed_files.c.batch_id == batch_id, processed_files.c.status == PROCESSING)
        .values(status=DISCOVERED, batch_id=None)
    )


def fail_files(connection: Connection, run_id: str, ingestion_id: str, failures: Sequence[FileFailure]) -> None:
    """Waiting files that cannot be loaded: FAILED, with the reason, counted and listed in the run."""
    moment = now()
    for failure in failures:
        files = processed_files.c
        row = connection.execute(
            select(files.id, files.attempts).where(
                files.ingestion_id == ingestion_id,
                files.path == failure.path,
                files.current,
                files.status.in_((DISCOVERED, FAILED)),
            )
        ).one_or_none()
        if row is None:
            continue
        pause = min(_BACKOFF * 2 ** min(row.attempts, 10), _MAX_BACKOFF)
        connection.execute(
            update(processed_files)
            .where(files.id == row.id)
            .values(
                status=FAILED,
                reason=redact(failure.message),
                category=failure.category,
                retryable=failure.retryable,
                run_id=run_id,
                attempts=files.attempts + 1,
                next_attempt_at=moment + pause if failure.retryable else None,
            )
        )
        report(connection, run_id, failure.category, failure.message, file=failure.path)


def wait_again(connection: Connection, ingestion_id: str, run_id: str) -> None:
    """The files that failed in a run, and are still current, wait to be tried once more, whatever their category."""
    files = processed_files.c
    connection.execute(
        update(processed_files)
        .where(files.ingestion_id == ingestion_id, files.run_id == run_id, files.status == FAILED, files.current)
        .values(status=DISCOVERED)
    )


def report(connection: Connection, run_id: str, category: str, message: str, *, file: str | None = None) -> None:
    """One entry of a run's `errors`; one for a file counts in `error_count`."""
    connection.execute(
        insert(run_errors).values(
            run_id=run_id, file=file, error_type=category, message=redact(message), timestamp=now()
        )
    )
    if file is not None:
        connection.execute(update(runs).where(runs.c.id == run_id).values(error_count=runs.c.error_count + 1))


def supersede(connection: Connection, ingestion_id: str, entry: Entry) -> None:
    """A waiting file version is another content by now: the new one waits in its place."""
    files = processed_files.c
    before = connection.execute(
        select(files.id, files.ordinal).where(
            files.ingestion_id == ingestion_id,
            files.path == entry.path,
            files.current,
            files.status == DISCOVERED,
        )
    ).one_or_none()
    if before is None:
        return
    connection.execute(
        update(processed_files)
        .where(files.id == before.id)
        .values(current=False, status=SKIPPED, reason="it changed before it was loaded")
    )
    connection.execute(
        insert(processed_files).values(
            ingestion_id=ingestion_id, ordinal=before.ordinal + 1, status=DISCOVERED, **listed(entry)
        )
    )


def listed(entry: Entry) -> dict[str, Any]:
    """The columns of a file version that come from a listing."""
    return {
        "path": entry.path,
        "identity": identity(entry),
        "size": entry.size,
        "etag": entry.etag,
        "modified_at": datetime.fromtimestamp(entry.modified_ns / 1e9, UTC),
        "first_seen_at": now(),
    }


def progress(connection: Connection, run_id: str, step: str, **counts: int) -> None:
    """What a run is doing, and counts that it knows by now."""
    connection.execute(update(runs).where(runs.c.id == run_id).values(step=step, **counts))


def note(connection: Connection, run_id: str, sentence: str) -> None:
    """A sentence that a reader of the run should see. The same one is kept once."""
    notes = connection.execute(select(runs.c.notes).where(runs.c.id == run_id)).scalar_one()
    if sentence not in notes:
        connection.execute(update(runs).where(runs.c.id == run_id).values(notes=[*notes, sentence]))


def _batch(row: Row[Any]) -> Batch:
    return Batch(*row)


def _parts(files: Sequence[FileVersion]) -> Iterable[Sequence[FileVersion]]:
    """Short enough for the number of parameters that one statement may have (SQLite: 32,766)."""
    step = min(ROWS_PER_TRANSACTION, 5_000)
    return (files[start : start + step] for start in range(0, len(files), step))
