"""One run from its first line to its last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoloader_server.db.engine import DATABASE_AWAY
from autoloader_server.db.locks import lock_ingestion
from autoloader_server.db.tables import runs
from autoloader_server.engine import ledger, outcome, run_record
from autoloader_server.engine.begin import begin, new_lease
from autoloader_server.engine.check import Check, guess
from autoloader_server.engine.claim import claim_batch
from autoloader_server.engine.counts import count_files
from autoloader_server.engine.discover import Found, discover
from autoloader_server.engine.errors import DATA_MALFORMED, RunCancelled
from autoloader_server.engine.evolve import follow_schema, note_missing
from autoloader_server.engine.lease import let_go
from autoloader_server.engine.load import load
from autoloader_server.engine.outcome import Outcome
from autoloader_server.engine.prepare import (
    check_history,
    drop_misfits,
    given_schema,
    look_first,
    make_table,
    own_table,
)
from autoloader_server.engine.schema import new_fields, without
from autoloader_server.engine.settle import clean_up, drop_branches, settle
from autoloader_server.engine.sift import sift, told_apart
from autoloader_server.engine.sync import drop_absent
from autoloader_server.engine.untold import Untold, tell
from autoloader_server.engine.work import Work
from autoloader_server.security.redact import logger
from autoloader_server.spark.errors import first_line
from autoloader_server.spark.sessions import spark_errors

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

    from autoloader_server.service import Service

_log = logger(__name__)


def execute(service: Service, run_id: str) -> None:
    """Do a queued run. Its end, good or bad, is written into its row; nothing is raised for what a run can meet.

    A run that cannot begin, because another one of its ingestion is going, is left in the queue.

    Raises Untold where the ledger cannot be told of its end; anything else only where it did not begin.
    """
    lease = new_lease(service, run_id)
    try:
        work = begin(service, run_id, lease)
    except DATABASE_AWAY as error:
        # Whether it has begun only the ledger knows, by the lease.
        raise Untold(run_id, lease.token, outcome.of_fault(error)) from error
    if work is None:
        return
    lease.on_cancel = work.interrupt
    lease.start()
    try:
        attempt(work)
    finally:
        lease.stop()
    after(work)


def attempt(work: Work) -> None:
    """All steps of a run that has begun, and its end. Who calls the steps one by one: services/stepped_run.py.

    Raises Untold where the ledger cannot be told how it ended.
    """
    ending: Outcome | None = None
    try:
        ending = _ending(work)
        if ending is not None:
            end(work, ending)
    except Exception as error:
        raise Untold(work.run_id, work.lease.token, ending or outcome.of_fault(error)) from error


def _ending(work: Work) -> Outcome | None:
    """How the run ends, once all its steps were gone through; None where it is somebody else's by now."""
    try:
        find_files(work)
        plan_files(work)
        while load_next(work):
            pass
        drop_absent(work)
        return outcome.of_work(work)
    except Exception as error:
        ending = outcome.of_error(work, error)
        if ending is None:
            give_up(work, error)
        return ending


def end(work: Work, ending: Outcome) -> bool:
    """Write how the run ended, if it is still ours, and let go of everything that it held. False where it is not."""
    return tell(work.database, work.run_id, work.lease.token, ending)


def give_up(work: Work, error: Exception) -> None:
    """A worker without a lease ends its own run, if nobody else has: it did not do its work."""
    # Whatever else is written is for the new owner to write.
    _log.warning("run %s lost its lease and stops: %s", work.run_id, first_line(error))
    with work.database.write() as connection:
        lock_ingestion(connection, work.ingestion_id)
        let_go(connection, work.lease.token)
        run_record.end_dead(connection, work.run_id, runs.c.lease_token == work.lease.token)


def find_files(work: Work) -> Found:
    """The first step: settle what dead workers left, and write down what is new at the source.

    It can be repeated, also where another attempt of this run has written some of it.
    """
    work.reach("run_started")
    settle(work)
    clean_up(work)
    work.reach("settled")
    if work.deleted:
        raise RunCancelled("the ingestion was deleted; what it had left unfinished was taken back")
    work.step("discovering")
    found = discover(
        work.database, work.ingestion_id, work.place.store, work.spec, work.created_at, work.lease.hold_run
    )
    with work.database.write() as connection:
        lock_ingestion(connection, work.ingestion_id)
        told = run_record.files_told_of(connection, work.run_id) if found.unreadable else set()
        for path, why in found.unreadable:
            if path not in told:
                run_record.report(connection, work.run_id, DATA_MALFORMED, why, file=path)
        counted = {"files_found": found.listed, "files_skipped": found.skipped}
        held = runs.c.files_held + found.held  # a batch that was settled may have been held
        run_record.progress(connection, work.run_id, "discovering", files_held=held, **counted)
    work.too_young = len(found.young)
    if found.young:
        work.note(
            f"left alone: {outcome.files(work.too_young)} written less than source.min_age_seconds "
            f"({work.spec.source.min_age_seconds}) ago; a later run loads them"
        )
    _tell_changed(work, found.changed)
    return found


def _tell_changed(work: Work, changed: int) -> None:
    if changed:
        what = (
            "its rows are replaced where it can be loaded" if work.replaces_changed else "the rows that are there stay"
        )
        rule = work.spec.source.on_changed_file
        work.note(f"on_changed_file is {rule}: {outcome.files(changed)} changed after being loaded; {what}")


def plan_files(work: Work) -> int:
    """The second step: which files are to be loaded, also such as failed before and such as were held; how many."""
    if work.retry_of is not None:
        ledger.wait_again(work.database, work.ingestion_id, work.retry_of)
    held = work.spec.source.on_changed_file == "hold"
    taken_up = ledger.take_up(work.database, work.ingestion_id, work.limits.max_attempts, hold_changed=held)
    _tell_changed(work, taken_up)
    with work.database.write() as connection:
        lock_ingestion(connection, work.ingestion_id)
        planned = ledger.count_waiting(connection, work.ingestion_id)
        run_record.progress(connection, work.run_id, "discovered", files_planned=planned)
    work.reach("discovered")
    return planned


def load_next(work: Work) -> bool:
    """The third step, again and again: load the next batch of waiting files. False when none is waiting."""
    limits = work.limits
    with work.database.read() as connection:
        waiting = ledger.waiting(connection, work.ingestion_id, limits.max_files_per_batch + len(work.left_to_others))
        changed = ledger.with_rows(connection, work.ingestion_id, waiting) if work.replaces_changed else set()
    # What is left to others must not fill a batch: what waits behind it would never come.
    waiting = [file for file in waiting if file.id not in work.left_to_others]
    # A batch replaces the rows of all of its files, or of none.
    fresh = [file for file in waiting if file.id not in changed]
    replaces = not fresh
    waiting = fresh or waiting
    files = ledger.first_bytes(waiting[: limits.max_files_per_batch], limits.max_bytes_per_batch)
    if not files:
        return False
    work.check_progress([file.id for file in files])
    state = check_history(work)
    with spark_errors():
        known = without(work.schema, work.lineage) if state is not None else given_schema(work.spec)
    guessed = guess(work, files, known) if state is not None and known is not None else None
    looks = guessed or look_first(work, files, known)
    work.reach("inspected")
    if not looks:
        return True
    seen: StructType | None = None
    if state is None:
        looks = told_apart(work, looks)
        if not looks:
            return True
        seen = make_table(work, looks)
        if seen is None:
            return True
        with spark_errors():
            state = work.table.state()
        assert state is not None
    ready = own_table(work, state)
    work.reach("prepared")
    if guessed is None:
        looks = drop_misfits(work, looks)
        if not looks:
            return True
        looks = sift(work, looks)
        # Unless the table was just made from these very files, and nobody else made it first.
        if known is not None or seen is None or any(new_fields(without(work.schema, work.lineage), seen)):
            ready, looks = follow_schema(work, ready, looks)
        if not looks:
            return True
        if work.sets_aside and any(look.bad for look in looks):
            with spark_errors():
                work.quarantine.prepare()
    if work.spec.effective_on_schema_change != "sync_all_columns":
        note_missing(work, looks)
    batch, taken = claim_batch(work, ready, files, looks, replaces=replaces)
    if batch is None:
        return True
    work.reach("claimed")
    wanted = {file.path for file in taken}
    check = Check(work, taken, guessed, known) if guessed is not None and known is not None else None
    load(work, batch, taken, lambda: [look for look in looks if look.path in wanted], check)
    return True


def after(work: Work) -> None:
    """What need not be waited for. Its failure is logged, and the next one that uses Spark does it."""
    if not work.sessions.started:
        return
    if "spark" in vars(work):  # this run had to do with the table
        try:
            drop_branches(work)
        except Exception as error:
            _log.warning("the branches of run %s are not dropped yet: %s", work.run_id, first_line(error))
    try:
        count_files(work)
    except Exception as error:
        _log.warning("the rows per file of run %s are not counted yet: %s", work.run_id, first_line(error))
