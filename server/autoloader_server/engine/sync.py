"""`sync_all_columns`: what no file of a run has leaves the table, once everything is loaded.

All files of the run decide, not those of a batch, and those of runs before it that died: they are unfinished work of
one and the same run. Where it cannot be told for sure, every column stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, or_, select

from autoloader_sdk.discovery.entries import identity
from autoloader_sdk.models import FileStatus, RunStatus
from autoloader_server.db.tables import batches, ingestions, processed_files, runs
from autoloader_server.engine.batch_record import UNFINISHED, BatchStatus, Verdict
from autoloader_server.engine.changes import Change, brought_by, removals
from autoloader_server.engine.errors import TableChanged
from autoloader_server.engine.evolve import count_version, intend, make, some
from autoloader_server.engine.ledger import FileVersion
from autoloader_server.engine.prepare import check_history
from autoloader_server.engine.read import RESCUED_DATA
from autoloader_server.engine.schema import without
from autoloader_server.engine.work import Ready, Work
from autoloader_server.spark.errors import SparkUnavailable, first_line
from autoloader_server.spark.sessions import spark_errors


def drop_absent(work: Work) -> None:
    """Drop the columns that no file of the run has. A run without new files drops nothing."""
    if work.spec.effective_on_schema_change != "sync_all_columns":
        return
    seen = _files(work)
    files = seen.loaded
    if not files:
        return
    state = check_history(work)
    if state is None or state.table_id is None or state.snapshot_id is None:
        raise TableChanged(f"the table {work.table_name} is gone: it was dropped behind our back")
    ready = count_version(work, Ready(state.table_id, state.snapshot_id))
    gone = _absent(work, files)
    if not gone:
        return
    names = some([change.name for change in gone])
    if (why := _doubt(work, ready, seen)) is not None:
        work.note(f"no column was dropped, though no file of this run has {names}: {why}")
        return
    work.step("dropping columns")
    brought = [file.path for file in files]
    intend(work, [brought_by(change, brought) for change in gone])
    work.reach("drop_intended")
    try:
        make(work, gone)
    except SparkUnavailable:
        raise
    except Exception as error:
        # As Iceberg refuses it for a column that an older partitioning or the sort order names. The rows are loaded.
        if not type(error).__module__.startswith("pyspark."):
            raise
        work.note(f"{names} could not be dropped from the table: {first_line(error)}")
        return
    work.reach("columns_dropped")
    count_version(work, ready)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What became of files since the last run that came to its end."""

    loaded: list[FileVersion]
    failed: int
    released: int
    """Batches that had been held: their files may be older than columns that others brought."""


def _files(work: Work) -> _Seen:
    of_this = runs.c.ingestion_id == work.ingestion_id
    with work.database.read() as connection:
        last = connection.execute(
            select(func.max(runs.c.created_at)).where(
                of_this, runs.c.status.in_((RunStatus.SUCCESS, RunStatus.PARTIAL)), runs.c.id != work.run_id
            )
        ).scalar()
        # A run may have waited behind one that was asked for later.
        late = [or_(runs.c.created_at > last, runs.c.id == work.run_id)] if last is not None else []
        since = select(runs.c.id).where(of_this, *late)
        columns = processed_files.c
        rows = connection.execute(
            select(columns.id, columns.path, columns.identity, columns.size, columns.status)
            .where(
                columns.ingestion_id == work.ingestion_id,
                columns.run_id.in_(since),
                columns.status.in_((FileStatus.SUCCESS, FileStatus.FAILED)),
            )
            .order_by(columns.id)
        ).all()
        released = connection.execute(
            select(func.count()).where(
                batches.c.ingestion_id == work.ingestion_id,
                batches.c.run_id.in_(since),
                batches.c.verdict == Verdict.RELEASED,
            )
        ).scalar_one()
    loaded = [FileVersion(*row[:4]) for row in rows if row.status == FileStatus.SUCCESS]
    return _Seen(loaded, len(rows) - len(loaded), released)


def _absent(work: Work, files: Sequence[FileVersion]) -> list[Change]:
    """What of the table's columns no file has, but for those that must stay."""
    seen = work.place.store.stat_all([file.path for file in files])
    if any(isinstance(now, OSError) or identity(now) != file.identity for file, now in zip(files, seen, strict=True)):
        return []
    with spark_errors():
        # Also where bad records are not rescued any more: those that were stay.
        data = without(work.schema, [*work.lineage, RESCUED_DATA])
        absent = work.format.absent(work.spark, [(file.path, file.size) for file in files], data)
        names = [field.name for field in data.fields]
        if not absent or all((name,) in absent for name in names):
            return []
        partitions = work.table.partitioned_by(names)
    stay = sorted(name for name in partitions if any(path[0] == name for path in absent))
    if stay:
        work.note(f"{some(stay)} stays in the table, though no file of this run has it: it is partitioned by it")
    return removals(data, absent, partitions)


def _doubt(work: Work, ready: Ready, seen: _Seen) -> str | None:
    """Why columns stay that no loaded file has."""
    if work.too_young:
        return f"{work.too_young} files are too new to be loaded yet, and may have it"
    if seen.failed:
        return f"{seen.failed} files could not be loaded, and may have it"
    if seen.released:
        return "the files of a batch that had been held may be older than it"
    with work.database.read() as connection:
        waiting = connection.execute(
            select(func.coalesce(func.sum(batches.c.files), 0)).where(
                batches.c.ingestion_id == work.ingestion_id,
                batches.c.status.in_((BatchStatus.HELD, *UNFINISHED)),
            )
        ).scalar_one()
        if waiting:
            return f"{waiting} files are held with their batch, and may have it"
        other = connection.execute(
            select(ingestions.c.name)
            .join(batches, batches.c.ingestion_id == ingestions.c.id)
            .where(batches.c.table_uuid == ready.table_id, batches.c.ingestion_id != work.ingestion_id)
            .limit(1)
        ).scalar()
    return None if other is None else f"the ingestion {other!r} loads into the same table"
