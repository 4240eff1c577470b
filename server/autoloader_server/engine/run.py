"""One run from its first line to its last."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from autoloader_sdk.models import IngestionCreate, Limits, RunStatus
from autoloader_server.db.clock import now
from autoloader_server.db.locks import lock_ingestion, lock_ingestion_of_run
from autoloader_server.db.tables import ingestions, runs
from autoloader_server.engine import ledger, outcome, run_record
from autoloader_server.engine.check import Check, guess
from autoloader_server.engine.claim import claim_batch
from autoloader_server.engine.counts import count_files
from autoloader_server.engine.discover import discover, take_up_failed
from autoloader_server.engine.errors import DATA_MALFORMED, RunCancelled
from autoloader_server.engine.evolve import follow_schema
from autoloader_server.engine.lease import Lease, owner_is_dead
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
from autoloader_server.engine.sync import drop_absent
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
    """
    lease = Lease(
        service.database,
        run_id,
        seconds=service.settings.lease_seconds,
        renew_seconds=service.settings.lease_renew_seconds,
    )
    work = _begin(service, run_id, lease)
    if work is None:
        return
    lease.on_cancel = work.interrupt
    lease.start()
    try:
        _attempt(work, service)
    finally:
        lease.stop()
    _after(work)


def _begin(service: Service, run_id: str, lease: Lease) -> Work | None:
    """Take the run from the queue, unless a live one of the same ingestion is going."""
    with service.database.write() as connection:
        lock_ingestion_of_run(connection, run_id)
        row = connection.execute(
            select(runs).where(runs.c.id == run_id, runs.c.status == RunStatus.QUEUED)
        ).one_or_none()
        if row is None:
            return None
        going = connection.execute(
            select(
                runs.c.id,
                runs.c.lease_owner,
                (runs.c.lease_expires_at < service.database.clock).label("expired"),
            ).where(runs.c.ingestion_id == row.ingestion_id, runs.c.status == RunStatus.RUNNING)
        ).all()
        if any(not (other.expired or owner_is_dead(other.lease_owner)) for other in going):
            return None
        for other in going:
            run_record.end_dead(connection, other.id)
        ingestion = connection.execute(select(ingestions).where(ingestions.c.id == row.ingestion_id)).one()
        connection.execute(
            update(runs)
            .where(runs.c.id == run_id)
            .values(
                status=RunStatus.RUNNING,
                step="starting",
                started_at=now(),
                generation=ingestion.generation,
                **lease.columns(),
            )
        )
    return Work(
        # While its server is away a run waits, for as long as its lease lasts.
        database=service.database.patient(lease.seconds),
        sessions=service.spark_of(ingestion.cluster_id),
        home=service.settings.home,
        ledger_id=service.ledger_id,
        run_id=run_id,
        ingestion_id=ingestion.id,
        generation=ingestion.generation,
        spec=IngestionCreate.model_validate(ingestion.spec),
        lease=lease,
        created_at=ingestion.created_at,
        credentials=partial(service.credentials_of, ingestion.credentials),
        retry_of=row.retry_of,
        deleted=ingestion.deleted_at is not None,
        closing=service.closing,
        check_beside_bytes=service.settings.check_beside_bytes,
    )


def _attempt(work: Work, service: Service) -> None:
    try:
        work.reach("run_started")
        _load_everything(work, service)
        _end(work, outcome.of_work(work))
    except Exception as error:
        ending = outcome.of_error(work, error)
        if ending is not None:
            _end(work, ending)
        else:
            # Whatever is written is for the new owner to write.
            _log.warning("run %s lost its lease and stops: %s", work.run_id, first_line(error))
            _give_up(work)


def _end(work: Work, ending: Outcome) -> None:
    """Write how the run ended, if it is still ours, and let go of everything that it held."""
    ours = runs.c.lease_token == work.lease.token
    status, message, category = ending
    with work.database.write() as connection:
        if run_record.end(connection, work.run_id, status, message, ours, category=category):
            work.lease.let_go(connection)


def _give_up(work: Work) -> None:
    """A worker without a lease ends its own run, if nobody else has: it did not do its work."""
    with work.database.write() as connection:
        lock_ingestion(connection, work.ingestion_id)
        work.lease.let_go(connection)
        run_record.end_dead(connection, work.run_id, runs.c.lease_token == work.lease.token)


def _load_everything(work: Work, service: Service) -> None:
    settle(work)
    clean_up(work)
    work.reach("settled")
    if work.deleted:
        raise RunCancelled("the ingestion was deleted; what it had left unfinished was taken back")
    work.step("discovering")
    found = discover(
        work.database, work.ingestion_id, work.place.store, work.spec, work.created_at, work.lease.hold_run
    )
    limits = work.spec.limits or Limits(
        max_files_per_batch=service.settings.max_files_per_batch,
        max_bytes_per_batch=service.settings.max_bytes_per_batch,
        max_attempts=service.settings.max_attempts,
    )
    with work.database.write() as connection:
        lock_ingestion(connection, work.ingestion_id)
        if work.retry_of is not None:
            ledger.wait_again(connection, work.ingestion_id, work.retry_of)
        take_up_failed(connection, work.ingestion_id, limits.max_attempts)
        for path, why in found.unreadable:
            run_record.report(connection, work.run_id, DATA_MALFORMED, why, file=path)
        counted = {"files_found": found.listed, "files_skipped": found.skipped}
        planned = ledger.count_waiting(connection, work.ingestion_id)
        held = runs.c.files_held + found.held  # a batch that was settled may have been held
        run_record.progress(connection, work.run_id, "discovered", files_planned=planned, files_held=held, **counted)
    if found.changed:
        number = "1 file" if found.changed == 1 else f"{found.changed} files"
        work.note(f"on_changed_file is append: {number} changed after being loaded; the rows that are there stay")
    work.reach("discovered")
    while _load_next(work, limits):
        pass
    drop_absent(work)


def _load_next(work: Work, limits: Limits) -> bool:
    """Load the next batch of waiting files. False when none is waiting."""
    with work.database.read() as connection:
        waiting = ledger.waiting(connection, work.ingestion_id, limits.max_files_per_batch + len(work.left_to_others))
    files = ledger.first_bytes(waiting, limits.max_bytes_per_batch)
    files = [file for file in files if file.id not in work.left_to_others]
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
        seen = make_table(work, looks)
        with spark_errors():
            state = work.table.state()
        assert state is not None
    ready = own_table(work, state)
    work.reach("prepared")
    if guessed is None:
        looks = drop_misfits(work, looks)
        if not looks:
            return True
        # Unless the table was just made from these very files, and nobody else made it first.
        if known is not None or seen is None or any(new_fields(without(work.schema, work.lineage), seen)):
            ready = follow_schema(work, ready, looks)
    batch, taken = claim_batch(work, ready, files, looks)
    if batch is None:
        return True
    work.reach("claimed")
    wanted = {file.path for file in taken}
    check = Check(work, taken, guessed, known) if guessed is not None and known is not None else None
    load(work, batch, taken, lambda: [look for look in looks if look.path in wanted], check)
    return True


def _after(work: Work) -> None:
    """What need not be waited for. Its failure is logged, and the next run does it."""
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
