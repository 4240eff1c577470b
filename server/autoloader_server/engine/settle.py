"""Finish what dead workers began: each of their batches is found to have landed, is loaded, or is burned. Never guessed."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import Connection, select, update

from autoloader_server.db.tables import batches, ingestions, processed_files, runs
from autoloader_server.engine import ledger
from autoloader_server.engine.errors import BatchRefused, GenerationChanged, NeedsRepair
from autoloader_server.engine.formats.base import Look
from autoloader_server.engine.iceberg import BRANCH_PREFIX, Snapshot
from autoloader_server.engine.ledger import Batch, FileVersion
from autoloader_server.engine.lease import owner_is_dead
from autoloader_server.engine.load import burn, drop_branches, load
from autoloader_server.engine.read import SOURCE_FILE
from autoloader_server.engine.schema import without
from autoloader_server.engine.work import Work
from autoloader_server.spark.sessions import spark_errors

_POLL_SECONDS = 0.5


def settle(work: Work) -> int:
    """End every batch of this ingestion that another worker left unfinished; how many there were.

    A live worker's batch is waited for until its lease expires. Starts no Spark where there is nothing to settle.
    """
    with work.database.read() as connection:
        left = ledger.unfinished(connection, work.ingestion_id)
    for found in left:
        if _take(work, found):
            work.reach("taken_over")
            with work.database.read() as connection:
                batch = ledger.batch(connection, found.id)
            _settle(work, batch)
    return len(left)


def clean_up(work: Work) -> None:
    """Drop branches that a worker had no time to drop. Starts no Spark where there are none."""
    with work.database.read() as connection:
        ended = connection.execute(
            select(batches.c.id).where(
                batches.c.ingestion_id == work.ingestion_id,
                batches.c.status.in_((ledger.LANDED, ledger.BURNED)),
                batches.c.branches_dropped.is_(False),
            )
        ).scalars()
        ids = list(ended)
    if ids:
        drop_branches(work, ids)


def drop_strays(work: Work) -> None:
    """Drop branches of ended batches, whatever the ledger believes of them.

    A worker that slept, or a write that went on in Spark after its worker had died, may make one after its batch was
    ended by somebody else and its branches were dropped.
    """
    with spark_errors():
        if work.table.state() is None:
            return
        names = work.table.branches()
    owners = {name: name.removeprefix(BRANCH_PREFIX).rpartition("_")[0] for name in names}
    if not owners:
        return
    with work.database.read() as connection:
        ended = set(
            connection.execute(
                select(batches.c.id).where(
                    batches.c.id.in_(set(owners.values())),
                    batches.c.status.in_((ledger.LANDED, ledger.BURNED)),
                )
            ).scalars()
        )
    with spark_errors():
        for name, batch_id in owners.items():
            if batch_id in ended:
                work.table.drop_branch(name)


def _take(work: Work, found: Batch) -> bool:
    """Make the batch ours. False where its worker ended it while we waited."""
    waiting = False
    while True:
        dead = owner_is_dead(found.lease_owner)
        if ledger.take_over(work.database, work.lease, found, owner_dead=dead):
            return True
        with work.database.read() as connection:
            found = ledger.batch(connection, found.id)
        if found.status not in ledger.UNFINISHED:
            return False
        if not waiting:
            owner = found.lease_owner or {}
            work.note(
                f"waited for the lease of a batch that another worker holds (process {owner.get('pid')} on "
                f"{owner.get('host')}): it may still be alive"
            )
            work.step("waiting for another worker's lease")
            waiting = True
        time.sleep(_POLL_SECONDS)
        work.reach("settle_waited")


def _settle(work: Work, batch: Batch) -> None:
    work.step("settling unfinished work")
    with spark_errors():
        state = work.table.state()
        ours = state is not None and state.table_id == batch.table_id
        line = work.table.ancestors() if ours else []
    landed = next((snapshot for snapshot in line if snapshot.wap_id == batch.id), None)
    work.reach("settle_found")
    if landed is not None and landed.data_files > 0:
        _record(work, batch, landed)
        return
    if landed is not None or batch.status == ledger.BURNING or not ours:
        burn(work, batch, "its burning was not finished" if ours else "its table is gone")
        return
    if not any(snapshot.id == batch.base_snapshot_id for snapshot in line):
        _decide_by_lineage(work, batch)
        return
    with work.database.read() as connection:
        files = ledger.files_of(connection, batch.id)
    if not files:
        burn(work, batch, "it holds no file")
        return
    try:
        load(work, batch, files, lambda: _look(work, files))
    except GenerationChanged:
        work.note("a batch from before the ingestion was cleared was taken back")


def _look(work: Work, files: Sequence[FileVersion]) -> list[Look]:
    """How a dead worker's files are to be read. Raises BatchRefused where one of them cannot be, by now."""
    with spark_errors():
        known = without(work.schema, work.lineage)
    looks = work.format.look([(file.path, file.size) for file in files], known)
    if looks.failures:
        raise BatchRefused(looks.failures)
    return looks.good


def _record(work: Work, batch: Batch, landed: Snapshot) -> None:
    with work.database.write() as connection:
        ledger.record(connection, work.lease, batch.id, work.ingestion_id, work.run_id, landed)
    work.reach("recorded")


def _decide_by_lineage(work: Work, batch: Batch) -> None:
    """The snapshots since the claim were expired: only the rows themselves can tell, by the file that they name."""
    with work.database.read() as connection:
        files = ledger.files_of(connection, batch.id)
        doubtful = _doubtful(connection, files)
    if SOURCE_FILE not in work.lineage:
        _needs_repair(work, f"its table has no {SOURCE_FILE} column that could tell which files are in it")
    if doubtful:
        _needs_repair(work, f"{doubtful!r} was loaded in another version or by another ingestion as well")
    with spark_errors():
        present = work.table.rows_of(SOURCE_FILE, [file.path for file in files])
    if present:
        _record(work, batch, Snapshot(batch.base_snapshot_id, None, batch.id, 1, sum(present.values()), 0))
    else:
        burn(work, batch, "its snapshots were expired, and none of its files is in the table")


def _doubtful(connection: Connection, files: Sequence[FileVersion]) -> str | None:
    """A path whose rows might come from something else than this batch."""
    for file in files:
        other = connection.execute(
            select(processed_files.c.path).where(
                processed_files.c.path == file.path,
                processed_files.c.id != file.id,
                processed_files.c.status == ledger.SUCCESS,
            )
        ).scalar()
        if other is not None:
            return str(other)
    return None


def _needs_repair(work: Work, why: str) -> None:
    sentence = (
        f"nobody can tell whether a batch of run {work.run_id} is in {work.table_name}: the table's snapshots from that "
        f"time were expired, and {why}. Look at the table; then clear the ingestion's processed files to load everything "
        "into a new table."
    )
    with work.database.write() as connection:
        connection.execute(
            update(ingestions)
            .where(ingestions.c.id == work.ingestion_id)
            .values(status="error", status_reason=f"NEEDS_REPAIR: {sentence}")
        )
        connection.execute(update(runs).where(runs.c.id == work.run_id).values(message=sentence))
    raise NeedsRepair(sentence)
