"""Rows per file, filled in after a run, off its clock: the table itself tells them by `_source_file`."""

from __future__ import annotations

from sqlalchemy import bindparam, select, update

from autoloader_server.db.engine import ROWS_PER_TRANSACTION
from autoloader_server.db.locks import lock_ingestion
from autoloader_server.db.tables import batches, processed_files
from autoloader_server.engine.batch_record import BatchStatus
from autoloader_server.engine.iceberg import Snapshot
from autoloader_server.engine.read import SOURCE_FILE
from autoloader_server.engine.work import Work
from autoloader_server.spark.sessions import spark_errors


def count_files(work: Work) -> None:
    """Fill in `records` for the files of all landed batches of this ingestion that were not counted yet.

    A batch whose snapshot was expired meanwhile is left uncounted for good; its files keep `records` null.
    """
    if SOURCE_FILE not in work.lineage:
        return
    with work.database.read() as connection:
        left = connection.execute(
            select(batches.c.id, batches.c.published_snapshot_id, batches.c.replaces).where(
                batches.c.ingestion_id == work.ingestion_id,
                batches.c.status == BatchStatus.LANDED,
                batches.c.counted.is_(False),
            )
        ).all()
    if not left:
        return
    with spark_errors():
        snapshots = work.table.snapshots()
    for batch_id, snapshot_id, replaces in left:
        snapshot = snapshots.get(snapshot_id)
        if snapshot is not None:
            with spark_errors():
                fill_in(work, batch_id, _counts(work, batch_id, snapshot, replaces=replaces))
        with work.database.write() as connection:
            connection.execute(update(batches).where(batches.c.id == batch_id).values(counted=True))


def _counts(work: Work, batch_id: str, snapshot: Snapshot, *, replaces: bool) -> dict[str, int]:
    if not replaces:
        return work.table.count_by(SOURCE_FILE, snapshot)
    # Such a snapshot also adds rows again that were in a data file with replaced ones.
    with work.database.read() as connection:
        its_paths = select(processed_files.c.path).where(processed_files.c.batch_id == batch_id)
        paths = list(connection.execute(its_paths).scalars())
    return work.table.rows_of(SOURCE_FILE, paths, snapshot.id)


def fill_in(work: Work, batch_id: str, counts: dict[str, int]) -> None:
    """Write the rows of each file of a batch; a file that no row names held none."""
    with work.database.read() as connection:
        rows = connection.execute(
            select(processed_files.c.id, processed_files.c.path).where(processed_files.c.batch_id == batch_id)
        ).all()
    values = [{"at": row.id, "n": counts.get(row.path, 0)} for row in rows]
    statement = update(processed_files).where(processed_files.c.id == bindparam("at")).values(records=bindparam("n"))
    for start in range(0, len(values), ROWS_PER_TRANSACTION):
        with work.database.write() as connection:
            lock_ingestion(connection, work.ingestion_id)
            connection.execute(statement, values[start : start + ROWS_PER_TRANSACTION])
