"""One batch: stage, audit, publish, record; or burn.

Whoever holds the batch's lease may call these at any time, also after another worker died in the middle of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

from sqlalchemy import select

from autoloader_sdk.discovery.entries import Entry, identity
from autoloader_server.db.locks import lock_ingestion
from autoloader_server.db.tables import batches, ingestions
from autoloader_server.engine import batch_record, killpoints, ledger, replacing
from autoloader_server.engine.batch_record import Batch, BatchStatus, Landed
from autoloader_server.engine.check import Check
from autoloader_server.engine.culprits import culprits
from autoloader_server.engine.discover import TOO_YOUNG, Rules
from autoloader_server.engine.errors import (
    UNKNOWN,
    WRITE_FAILURE,
    BatchRefused,
    FileFailure,
    GenerationChanged,
    RunCancelled,
    RunStopped,
    TableChanged,
)
from autoloader_server.engine.explain import about_files, run_error
from autoloader_server.engine.formats.base import Look, may_be_right, unopened
from autoloader_server.engine.iceberg import BRANCH_PREFIX, DuplicatePublish, Snapshot, TableState
from autoloader_server.engine.ledger import FileVersion
from autoloader_server.engine.quality import judge
from autoloader_server.engine.read import frame_of
from autoloader_server.engine.run_log import say
from autoloader_server.engine.schema import without
from autoloader_server.engine.sift import misfits_left, remember
from autoloader_server.engine.values import spare
from autoloader_server.engine.work import Work
from autoloader_server.spark.errors import SparkUnavailable
from autoloader_server.spark.sessions import spark_errors

# What is to be replaced is staged again after anybody else's commit; a run does not try for ever.
_MOST_STAGINGS = 5


def load(
    work: Work,
    batch: Batch,
    files: Sequence[FileVersion],
    look: Callable[[], list[Look]],
    check: Check | None = None,
) -> None:
    """Bring a claimed batch into the table, or burn it where it must not be, or hold it where a rule says so.

    `look` tells how its files are to be read; it is asked only if they have to be staged. Where it is a guess, `check`
    looks into them meanwhile. Raises RunStopped, LeaseLost or SparkUnavailable; the batch is then left as it is, for
    whoever settles it.
    """
    try:
        for _ in range(_MOST_STAGINGS):
            staged = _find_staged(work, batch, files)
            if staged is None:
                staged = _stage(work, batch, files, look(), check)
            _audit(work, files)
            work.reach("audited")
            if not judge(work, batch, staged):
                return
            work.reach("judged")
            if _publish(work, batch, staged):
                return
            with work.database.read() as connection:
                batch = batch_record.get(connection, batch.id)
            check = None
        # Its files wait: were the batch left to be settled, nothing new would be loaded before it.
        if burn(work, batch, "somebody else's commits kept it from replacing rows"):
            raise RunStopped(
                f"somebody else committed to {work.table_name} each of the {_MOST_STAGINGS} times that rows were to be "
                "replaced in it: these rows are as they were; the next run tries again",
                WRITE_FAILURE,
            )
    except BatchRefused as refused:
        if burn(work, batch, "; ".join(f.message for f in refused.failures[:3]) or "its files are cut anew"):
            settle_refused(work, refused)
    except GenerationChanged:
        burn(work, batch, "the ingestion was cleared or deleted meanwhile")
        raise
    except RunCancelled:
        burn(work, batch, "the run was cancelled")
        raise


def _find_staged(work: Work, batch: Batch, files: Sequence[FileVersion]) -> Snapshot | None:
    """What a dead worker had staged and written down, so that it need not be read again."""
    if batch.staged_snapshot_id is None:
        return None
    with spark_errors():
        found = work.table.snapshots().get(batch.staged_snapshot_id)
        aside = batch.quarantine_snapshot_id
        if aside is not None and not work.quarantine.holds(aside, batch.id):
            return None
        if batch.replaces:
            return replacing.publishable(work, batch.id, found, files) if found is not None else None
    if found is None or found.wap_id != batch.id:
        return None
    # Of nothing but bad records there is nothing staged but these.
    return found if found.data_files > 0 or aside is not None else None


def _stage(work: Work, batch: Batch, files: Sequence[FileVersion], looks: list[Look], check: Check | None) -> Snapshot:
    if batch.bad_records is not None:
        # Some may have been set aside already, by what the table's columns were then: it is never staged twice.
        raise BatchRefused([])
    bad = {look.path: len(look.bad) for look in looks if look.bad}
    with work.database.write() as connection:
        lock_ingestion(connection, work.ingestion_id)
        batch_record.check_generation(connection, work.ingestion_id, batch.generation)
        work.lease.hold_batch(connection, batch.id, (BatchStatus.OPEN,), attempt=batches.c.attempt + 1)
        if bad:
            batch_record.count_bad(connection, work.lease, batch.id, bad)
        attempt = connection.execute(select(batches.c.attempt).where(batches.c.id == batch.id)).scalar_one()
    branch = branch_name(batch.id, attempt)
    work.step("loading")
    with spark_errors():
        columns = work.schema
        work.table.create_branch(branch)
    work.reach("branch_created")
    if work.table.may_lag:
        # Not every value that does not fit the older columns would be refused: a double becomes a float in silence.
        _catch_up(work, branch)
    aside: int | None = None
    if bad and work.sets_aside:
        with spark_errors():
            aside = work.quarantine.stage(branch, batch.id, looks, work.run_id, work.ingestion_id).id
        work.reach("quarantine_staged")
    with check or nullcontext():
        try:
            with spark_errors():
                frame = frame_of(work.spark, work.format, looks, columns, work.lineage)
                if batch.replaces:
                    replacing.stage(work, branch, frame, files)
                else:
                    work.table.append(frame, branch, batch.id)
        except SparkUnavailable:
            raise
        except Exception as error:
            # An interrupted write is a cancellation, not a bad file.
            work.reach("stage_failed")
            if check is not None:
                check.verdict()
            _catch_up(work, branch)
            _blame(work, files, looks, error)
        work.reach("staged")
        if batch.replaces and check is not None:
            # What it refuses is interrupted, and counting rows must not be.
            check.verdict()
        with spark_errors():
            staged = replacing.staged(work, branch, files) if batch.replaces else work.table.staged(branch)
        if check is not None:
            check.verdict()
    # Only now: whoever settles this batch publishes what is written down here.
    with work.database.write() as connection:
        values = {"staged_snapshot_id": staged.id, "quarantine_snapshot_id": aside}
        work.lease.hold_batch(connection, batch.id, (BatchStatus.OPEN,), **values)
    work.reach("stage_recorded")
    return staged


def _catch_up(work: Work, branch: str) -> None:
    """Where somebody has changed the table's columns since its last commit, one gives the next branch the new ones.

    Raises BatchRefused then: no file is at fault, and all are to be staged again. Once in a run: what a commit does not
    put right is for the write to tell.
    """
    with spark_errors():
        if not work.caught_up and work.table.lags(branch):
            work.caught_up = True
            work.table.append_nothing()
            work.schema_changed()
            raise BatchRefused([])


def _blame(work: Work, files: Sequence[FileVersion], looks: list[Look], error: Exception) -> None:
    """Find the files that made a write fail. Raises BatchRefused with them, or RunStopped where no file is at fault."""
    work.step("looking for the bad file")
    failures, stale = _changed(work, files)
    bad = {failure.path for failure in failures} | set(stale)
    rest = [look for look in looks if look.path not in bad]
    if rest and not bad and about_files(error):
        data = without(work.schema, work.lineage)
        plain = [look for look in rest if not look.bad]
        found = culprits(work.spark, work.format, plain, data)
        if found:
            raise BatchRefused(remember(work, files, plain, spare(work, plain, found, data))) from error
        # Files whose bad records are known are looked through no second time: they fail.
        if unfit := misfits_left(work, [look for look in rest if look.bad], data):
            raise BatchRefused(unfit) from error
        quick = {one.path for one in plain if may_be_right(work.format, one)}
        if quick:
            # What is wrong beside the others is right by itself (a number that is written as infinite).
            work.exact.update(file.id for file in files if file.path in quick)
            raise BatchRefused([]) from error
    if not failures and not stale:
        raise run_error(error, work.spark) from error
    raise BatchRefused(failures, stale) from error


def _audit(work: Work, files: Sequence[FileVersion]) -> None:
    """The files must still be what was listed: what Spark read may be another content. Raises BatchRefused."""
    failures, stale = _changed(work, files)
    if failures or stale:
        raise BatchRefused(failures, stale)


def _changed(work: Work, files: Sequence[FileVersion]) -> tuple[list[FileFailure], list[str]]:
    gone: list[FileFailure] = []
    stale: list[str] = []
    for file, found in zip(files, work.place.store.stat_all([file.path for file in files]), strict=True):
        if isinstance(found, OSError):
            gone.append(unopened(file.path, found))
        elif identity(found) != file.identity:
            stale.append(file.path)
    return gone, stale


def _publish(work: Work, batch: Batch, staged: Snapshot) -> bool:
    """Put what is staged on main, and record it; False where it must be staged again, on what main is by now."""
    work.step("publishing")
    with spark_errors():
        state = work.table.state()
        check_table(work, batch.table_id, state)
        assert state is not None
        if not state.snapshot_id == staged.parent_id == batch.base_snapshot_id:
            # Main has moved since the batch was claimed, and may have been moved back.
            undone = rolled_back(work, work.table.ancestors())
            if undone is not None:
                raise undone
        if batch.replaces and not replacing.stands_on(state, staged):
            return False
        _publish_bad(work, batch)
        if batch.replaces:
            return _publish_replacing(work, batch, staged)
        if staged.data_files == 0:
            # No rows: nothing to publish, and publishing it would look like a burned id.
            record(work, batch, None)
            return True
        work.reach("publishing")
        try:
            published = work.table.publish(staged.id)
        except DuplicatePublish:
            found = _seen(work, batch)
            if found.data_files == 0:
                raise BatchRefused([]) from None
            work.reach("published")
            record(work, batch, landed_as(found))
            return True
        # Where main had moved on the procedure tells what is current now, which may be somebody else's.
        landed = landed_as(staged if published == staged.id else _seen(work, batch))
    work.reach("published")
    record(work, batch, replace(landed, records=staged.records, bytes=staged.bytes))
    return True


def _publish_replacing(work: Work, batch: Batch, staged: Snapshot) -> bool:
    work.reach("publishing")
    # Where main has moved on, it may have gone by this very snapshot, brought there by another worker.
    moved = replacing.publish(work, batch.id, staged)
    if not moved and replacing.landed(work, batch.id, staged.id, work.table.ancestors()) is None:
        return False
    work.reach("published")
    record(work, batch, landed_as(staged))
    return True


def _publish_bad(work: Work, batch: Batch) -> None:
    """The bad records come before the good ones: a batch that is in the table has both."""
    with work.database.read() as connection:
        aside = batch_record.get(connection, batch.id).quarantine_snapshot_id
    if aside is None:
        return
    if not work.quarantine.publish(aside, batch.id):
        raise BatchRefused([])
    work.reach("quarantine_published")


def record(work: Work, batch: Batch, landed: Landed | None) -> None:
    """Write down that the batch is in the table, or that its files held no rows.

    Raises TableChanged, and leaves that to whoever settles it, where main's history has lost what this ingestion had
    loaded before: when that is brought back, this batch may be gone with what it stood on.
    """
    if landed is not None and landed.parent_id != batch.base_snapshot_id:
        with spark_errors():
            undone = rolled_back(work, work.table.ancestors())
        if undone is not None:
            raise undone
    with work.database.write() as connection:
        batch_record.record(connection, work.lease, batch.id, work.ingestion_id, work.run_id, landed)
    # Not `work.reach`: what is recorded can not be cancelled any more.
    killpoints.reach("recorded", work.home)


def landed_as(snapshot: Snapshot) -> Landed:
    """A published snapshot, as the ledger records it."""
    return Landed(snapshot.id, snapshot.records, snapshot.bytes, parent_id=snapshot.parent_id)


def burn(work: Work, batch: Batch, reason: str) -> bool:
    """Make sure that nothing of this batch can ever be published, then let its files wait again.

    False where it turns out that it had landed: then it is recorded instead.
    """
    if _never_staged(work, batch):
        with work.database.write() as connection:
            batch_record.end_burning(connection, work.lease, batch.id)
            say(connection, work.run_id, f"batch {batch.id} was never staged: its files wait again")
        return True
    with work.database.write() as connection:
        attempt = batch_record.begin_burning(connection, work.lease, batch.id, reason)
        say(connection, work.run_id, f"batch {batch.id} is not to be published: {reason}", "warning")
    # A cancelled run still burns: it stops looking for the cancellation, and is not interrupted by it.
    reach = partial(killpoints.reach, home=work.home) if work.lease.cancelled.is_set() else work.reach
    with work.uninterrupted():
        return _burn(work, batch, attempt, reach)


def _burn(work: Work, batch: Batch, attempt: int, reach: Callable[[str], None]) -> bool:
    """From the ledger's BURNING to its BURNED; False where the batch had landed."""
    reach("burning")
    with work.database.read() as connection:
        now = batch_record.get(connection, batch.id)
    with spark_errors():
        state = work.table.state()
        # With another table there, or none, nothing can be published any more: its snapshots are unknown there.
        if state is not None and state.table_id == batch.table_id:
            branch = branch_name(batch.id, attempt)
            work.table.create_branch(branch)
            reach("burn_branch_created")
            work.table.append_nothing(branch, batch.id)
            reach("burn_staged")
            try:
                work.table.publish(work.table.staged(branch).id)
            except DuplicatePublish:
                found = _seen(work, batch)
                if found.data_files > 0:
                    record(work, batch, landed_as(found))
                    return False
            # From here on main cannot be moved to what was staged; had it been before, it shows by now.
            if batch.replaces:
                there = replacing.landed(work, batch.id, now.staged_snapshot_id, work.table.ancestors())
                if there is not None:
                    record(work, batch, landed_as(there))
                    return False
    reach("burned")
    if now.bad_records is not None and work.sets_aside:
        with spark_errors():
            work.quarantine.burn(branch_name(batch.id, attempt), batch.id)
        reach("quarantine_burned")
    # Now, not off the clock: a branch would keep what was staged past the expiry of the burned id that forbids it.
    with spark_errors():
        for each in range(1, attempt + 1):
            for table in work.written_to:
                table.drop_branch(branch_name(batch.id, each))
    with work.database.write() as connection:
        batch_record.end_burning(connection, work.lease, batch.id)
        say(connection, work.run_id, f"batch {batch.id} can never be published any more: its files wait again")
    reach("burn_recorded")
    return True


def _seen(work: Work, batch: Batch) -> Snapshot:
    """The snapshot for whose sake Iceberg refused a second one of this id."""
    found = work.table.published(batch.id)
    if found is None:
        # Expired since, this very moment. The next settling lets the rows themselves tell.
        raise RunStopped(
            f"the table {work.table_name} lost its history while a batch was published: run again; nothing is lost"
        )
    return found


def _never_staged(work: Work, batch: Batch) -> bool:
    """No attempt was ever begun; none can begin while we hold the lease, since that needs the token."""
    with work.database.read() as connection:
        attempts: int = connection.execute(select(batches.c.attempt).where(batches.c.id == batch.id)).scalar_one()
    return attempts == 0


def settle_refused(work: Work, refused: BatchRefused) -> None:
    """After the burning: the bad files fail; those that changed wait under their new identity."""
    restless = [path for path in refused.stale if path in work.seen_stale]
    work.seen_stale.update(refused.stale)
    failures = refused.failures + [
        FileFailure(path, UNKNOWN, "it keeps changing while it is being loaded; the next run tries again")
        for path in restless
    ]
    again = work.place.store.stat_all(sorted(set(refused.stale) - set(restless)))
    rules = Rules.of(work.spec, work.place.store.root, work.created_at)
    young = [entry for entry in again if isinstance(entry, Entry) and rules.too_young(entry)]
    failures += [FileFailure(entry.path, UNKNOWN, f"{TOO_YOUNG}: a later run loads it") for entry in young]
    with work.database.write() as connection:
        work.lease.hold_run(connection)
        ledger.fail_files(connection, work.run_id, work.ingestion_id, failures)
        for entry in again:
            # One that is gone by now is found so when it is tried again.
            if isinstance(entry, Entry) and entry not in young:
                ledger.supersede(connection, work.ingestion_id, entry)


def branch_name(batch_id: str, attempt: int) -> str:
    return f"{BRANCH_PREFIX}{batch_id}_{attempt}"


def rolled_back(work: Work, line: Sequence[Snapshot]) -> TableChanged | None:
    """The error where main's history, `line`, has lost the snapshot that this ingestion published last."""
    with work.database.read() as connection:
        row = connection.execute(
            select(ingestions.c.last_snapshot_id, batches.c.created_at)
            .outerjoin(batches, batches.c.published_snapshot_id == ingestions.c.last_snapshot_id)
            .where(ingestions.c.id == work.ingestion_id)
        ).first()
    if row is None or row.last_snapshot_id is None or any(each.id == row.last_snapshot_id for each in line):
        return None
    # Not in main's history: either that is over (expired) before it gets so far back, or the snapshot was undone.
    began_us = int(row.created_at.timestamp() * 1e6) if row.created_at is not None else 0
    if line and line[-1].parent_id is not None and line[-1].committed_us >= began_us:
        return None
    return TableChanged(
        f"the table {work.table_name} was rolled back or replaced behind our back: snapshot {row.last_snapshot_id}, "
        "which this ingestion published last, is no longer in its history. Bring it back, or clear the ingestion's "
        "processed files to load everything anew."
    )


def check_table(work: Work, table_id: str | None, state: TableState | None) -> None:
    """Raises TableChanged unless the table is the one with this identity and loads from this ledger."""
    if state is None:
        raise TableChanged(
            f"the table {work.table_name} is gone: it was dropped behind our back, or cluster_id was changed to a "
            "cluster that has another catalog (then change it back), or a refresh died after it had dropped the table: "
            "then ask for that again. To load everything into a new one, clear the ingestion's processed "
            "files and run again."
        )
    if state.ledger_id is not None and state.ledger_id != work.ledger_id:
        raise TableChanged(
            f"the table {work.table_name} is loaded by another autoloader database (its property autoloader.ledger-id "
            f"is {state.ledger_id}, ours {work.ledger_id}): load into another table, or run the ingestion there."
        )
    if table_id is not None and state.table_id != table_id:
        raise TableChanged(
            f"the table {work.table_name} was replaced behind our back: it is not the one that was loaded before. To "
            "load everything into this one, clear the ingestion's processed files and run again."
        )
