"""Finish what dead workers began: each of their batches is found landed, is loaded, or is burned. Never guessed."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import Connection, case, or_, select, update

from autoloader_sdk.models import FileStatus
from autoloader_server.db.locks import lock_ingestion
from autoloader_server.db.tables import batches, ingestions, processed_files
from autoloader_server.engine import batch_record, ledger, replacing
from autoloader_server.engine.batch_record import ENDED, UNFINISHED, Batch, BatchStatus, Landed, Verdict
from autoloader_server.engine.counts import fill_in
from autoloader_server.engine.errors import BatchRefused, GenerationChanged, NeedsRepair
from autoloader_server.engine.formats.base import Look, Looks
from autoloader_server.engine.iceberg import BRANCH_PREFIX
from autoloader_server.engine.killpoints import reach
from autoloader_server.engine.lease import owner_is_dead
from autoloader_server.engine.ledger import FileVersion
from autoloader_server.engine.load import burn, check_table, landed_as, load, record, rolled_back
from autoloader_server.engine.prepare import check_history, own_table
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
        left = batch_record.unfinished(connection, work.ingestion_id)
    for found in left:
        if _take(work, found):
            work.reach("taken_over")
            with work.database.read() as connection:
                batch = batch_record.get(connection, found.id)
            _settle(work, batch)
    return len(left)


def clean_up(work: Work) -> None:
    """Drop branches that a dead worker had no time to drop. Starts no Spark where the ledger knows of none."""
    if _undropped(work):
        drop_branches(work)


def drop_branches(work: Work) -> None:
    """Drop the branches of all ended batches, whatever the ledger believes of them, and remember that it was done.

    The table itself tells which there are: a worker that slept, or a write that went on in Spark after its worker had
    died, may have made one after somebody else had ended its batch. Branches of unfinished batches are left alone.
    """
    done = _undropped(work)
    with spark_errors():
        found = [(table, name) for table in work.written_to if table.state() is not None for name in table.branches()]
    owners = {name: name.removeprefix(BRANCH_PREFIX).rpartition("_")[0] for _, name in found}
    with work.database.read() as connection:
        ended = connection.execute(
            select(batches.c.id).where(
                batches.c.id.in_(set(owners.values())),
                batches.c.status.in_(ENDED),
            )
        ).scalars()
        stray = set(ended)
    with spark_errors():
        for table, name in found:
            if owners[name] in stray:
                table.drop_branch(name)
    reach("branch_dropped", work.home)
    if done:
        with work.database.write() as connection:
            lock_ingestion(connection, work.ingestion_id)
            connection.execute(update(batches).where(batches.c.id.in_(done)).values(branches_dropped=True))


def _undropped(work: Work) -> list[str]:
    """Ended batches whose branches nobody is known to have dropped."""
    with work.database.read() as connection:
        found = connection.execute(
            select(batches.c.id).where(
                batches.c.ingestion_id == work.ingestion_id,
                batches.c.status.in_(ENDED),
                batches.c.branches_dropped.is_(False),
            )
        )
        return list(found.scalars())


def _take(work: Work, found: Batch) -> bool:
    """Make the batch ours. False where its worker ended it while we waited."""
    waiting = False
    while True:
        dead = owner_is_dead(found.lease_owner)
        if batch_record.take_over(work.database, work.lease, found, owner_dead=dead):
            return True
        with work.database.read() as connection:
            found = batch_record.get(connection, found.id)
        if found.status not in UNFINISHED:
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
        replaced = replacing.landed(work, batch.id, batch.staged_snapshot_id, line) if batch.replaces else None
    landed = next((snapshot for snapshot in line if snapshot.wap_id == batch.id), None)
    # Main's history goes back to the batch's claim: then it tells whether that landed.
    tells = any(snapshot.id == batch.base_snapshot_id for snapshot in line)
    work.reach("settle_found")
    if replaced is not None:
        record(work, batch, landed_as(replaced))
    elif landed is not None and landed.data_files > 0:
        record(work, batch, landed_as(landed))
    elif landed is not None:
        burn(work, batch, "its id was burned before")
    elif batch.generation != work.generation:
        why = "the ingestion was cleared meanwhile"
        if batch.replaces and not tells:
            _no_version_counts(work, batch, why)
        burn(work, batch, why)
        work.note("a batch from before the ingestion was cleared was taken back")
    elif batch.verdict == Verdict.DROPPED:
        # Nobody has ever tried to publish it: neither a table that is away nor its history has anything to tell.
        burn(work, batch, "it was held, and dropped by a call")
    elif not ours:
        # It may have landed there, and a table that is away can come back: nothing is decided without it.
        check_table(work, batch.table_id, state)
    elif batch.verdict == Verdict.RELEASING:
        _go_on(work, _claim_again(work, batch))
    elif not tells and (undone := rolled_back(work, line)) is not None:
        raise undone
    elif batch.replaces and not tells:
        why = "its snapshots were expired; what it replaces is replaced once more"
        _no_version_counts(work, batch, why)
        burn(work, batch, why)
    elif not tells:
        _decide_by_lineage(work, batch)
    elif batch.status == BatchStatus.BURNING:
        burn(work, batch, "its burning was not finished")
    else:
        _go_on(work, batch)


def _claim_again(work: Work, batch: Batch) -> Batch:
    """A held batch that was released, in the table as it is today: its history from now on tells whether it landed.

    Raises TableChanged where the table was rolled back behind our back.
    """
    state = check_history(work)
    assert state is not None
    ready = own_table(work, state)
    values = {"verdict": Verdict.RELEASED, "base_snapshot_id": ready.snapshot_id}
    with work.database.write() as connection:
        work.lease.hold_batch(connection, batch.id, (BatchStatus.OPEN,), **values)
        batch = batch_record.get(connection, batch.id)
    work.reach("claimed_again")
    return batch


def _go_on(work: Work, batch: Batch) -> None:
    """Load a batch that is known not to have landed."""
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
    """How a dead worker's files are to be read.

    Raises BatchRefused where one of them cannot be, by now, or holds something beyond the table's columns (somebody may
    have dropped one): only a batch that is cut again follows that.
    """
    with spark_errors():
        known = without(work.schema, work.lineage)
    looks = Looks.of(work.format.look([(file.path, file.size) for file in files], known))
    if looks.failures or any(look.unfamiliar for look in looks.good):
        raise BatchRefused(looks.failures)
    return looks.good


def _no_version_counts(work: Work, batch: Batch, why: str) -> None:
    """Whether the old rows of a batch's files are in the table or the new ones cannot be told, and does not matter.

    The next version replaces either; until then none counts as the one that is there.
    """
    with work.database.write() as connection:
        work.lease.hold_batch(connection, batch.id, UNFINISHED, reason=why)
        ledger.replaced(connection, work.ingestion_id, batch.id)


def _decide_by_lineage(work: Work, batch: Batch) -> None:
    """The snapshots since the claim were expired: only the rows themselves can tell, by the file that they name."""
    with work.database.read() as connection:
        files = ledger.files_of(connection, batch.id)
        doubt = _doubt(connection, batch, files)
    if SOURCE_FILE not in work.lineage:
        _needs_repair(work, f"its table has no {SOURCE_FILE} column that could tell which files are in it")
    if doubt:
        _needs_repair(work, doubt)
    with spark_errors():
        present = work.table.rows_of(SOURCE_FILE, [file.path for file in files])
        state = work.table.state()
    assert state is not None
    assert state.snapshot_id is not None
    # A batch lands whole: where rows of some files only are there, they may be from another time.
    if present and len(present) < len(files):
        _needs_repair(work, f"it has rows of {len(present)} of the {len(files)} files")
    if present:
        record(work, batch, Landed(state.snapshot_id, sum(present.values()), 0, counted=True))
        fill_in(work, batch.id, present)
    else:
        burn(work, batch, "its snapshots were expired, and none of its files is in the table")


def _doubt(connection: Connection, batch: Batch, files: Sequence[FileVersion]) -> str | None:
    """Why rows of these files in the batch's table might come from something else than this batch; None if they cannot.

    Versions that had rows once count too: theirs may be there still, or were replaced. What an ingestion had loaded
    before it was cleared is not known any more.
    """
    in_table = batches.c.table_uuid == batch.table_id
    cleared = connection.execute(
        select(ingestions.c.id)
        .join(batches, batches.c.ingestion_id == ingestions.c.id)
        .where(in_table, batches.c.generation < ingestions.c.generation, batches.c.status != BatchStatus.BURNED)
        .limit(1)
    ).scalar()
    if cleared is not None:
        return f"rows of its files may be from before the ingestion {cleared} was cleared, refreshed or deleted"
    other = processed_files.c
    for part in ledger.parts(files):
        path = connection.execute(
            select(other.path)
            .join(batches, batches.c.id == other.batch_id)
            .where(in_table, other.path.in_([file.path for file in part]), other.batch_id != batch.id)
            .where(or_(other.loaded_at.is_not(None), other.status == FileStatus.PROCESSING))
            .limit(1)
        ).scalar()
        if path is not None:
            return f"{path!r} was loaded in another version or by another ingestion as well"
    return None


def _needs_repair(work: Work, why: str) -> None:
    sentence = (
        f"nobody can tell whether a batch that run {work.run_id} found unfinished is in {work.table_name}: the table's "
        f"snapshots from that time were expired, and {why}. Look at the table; then refresh the ingestion in full, "
        "which drops the table and loads everything again."
    )
    with work.database.write() as connection:
        connection.execute(
            update(ingestions)
            .where(ingestions.c.id == work.ingestion_id)
            # One that somebody has paused stays paused.
            .values(
                status=case((ingestions.c.status == "paused", "paused"), else_="error"),
                status_reason=f"NEEDS_REPAIR: {sentence}",
            )
        )
    raise NeedsRepair(sentence)
