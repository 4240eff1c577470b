"""One run from its first line to its last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select, update
from sqlalchemy.exc import OperationalError

from autoloader_sdk.discovery.errors import SourceError, SourceForbidden, SourceMissing
from autoloader_sdk.models import IngestionCreate, Limits
from autoloader_server.db.tables import batches, ingestions, processed_files, runs
from autoloader_server.engine import ledger
from autoloader_server.engine.check import Check, guess
from autoloader_server.engine.claim import claim_batch
from autoloader_server.engine.counts import count_files
from autoloader_server.engine.discover import discover, take_up_failed
from autoloader_server.engine.errors import (
    AUTH,
    CANCELLED,
    CONNECTIVITY,
    DATA_MALFORMED,
    INTERNAL,
    INTERRUPTED,
    MISSING,
    WRITE_FAILURE,
    GenerationChanged,
    LeaseLost,
    RunCancelled,
    RunStopped,
)
from autoloader_server.engine.lease import Lease, owner_is_dead
from autoloader_server.engine.load import load
from autoloader_server.engine.prepare import (
    check_history,
    drop_misfits,
    follow_schema,
    given_schema,
    look_first,
    make_table,
    own_table,
)
from autoloader_server.engine.read import run_error
from autoloader_server.engine.schema import new_fields, without
from autoloader_server.engine.settle import clean_up, drop_branches, settle
from autoloader_server.engine.work import Work
from autoloader_server.security.redact import logger, redact
from autoloader_server.spark.errors import SparkError, first_line
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
        row = connection.execute(select(runs).where(runs.c.id == run_id, runs.c.status == "queued")).one_or_none()
        if row is None:
            return None
        going = connection.execute(
            select(
                runs.c.id,
                runs.c.lease_owner,
                (runs.c.lease_expires_at < service.database.clock).label("expired"),
            ).where(runs.c.ingestion_id == row.ingestion_id, runs.c.status == "running")
        ).all()
        if any(not (other.expired or owner_is_dead(other.lease_owner)) for other in going):
            return None
        for other in going:
            end_dead_run(connection, other.id)
        ingestion = connection.execute(select(ingestions).where(ingestions.c.id == row.ingestion_id)).one()
        connection.execute(
            update(runs)
            .where(runs.c.id == run_id)
            .values(
                status="running",
                step="starting",
                started_at=ledger.now(),
                generation=ingestion.generation,
                **lease.columns(),
            )
        )
    return Work(
        database=service.database,
        sessions=service.spark_of(ingestion.cluster_id),
        home=service.settings.home,
        ledger_id=service.ledger_id,
        run_id=run_id,
        ingestion_id=ingestion.id,
        generation=ingestion.generation,
        spec=IngestionCreate.model_validate(ingestion.spec),
        lease=lease,
        created_at=ingestion.created_at,
        retry_of=row.retry_of,
        deleted=ingestion.deleted_at is not None,
        closing=service.closing,
        check_beside_bytes=service.settings.check_beside_bytes,
    )


def end_dead_run(connection: Connection, run_id: str) -> None:
    """A run whose worker died ends as failed; the next run settles what it left."""
    message = "the worker died in the middle of the run; the next run of this ingestion finishes its work"
    ended = connection.execute(
        update(runs)
        .where(runs.c.id == run_id, runs.c.status == "running")
        .values(status="failed", ended_at=ledger.now(), message=message, step=None, lease_token=None)
        .returning(runs.c.ingestion_id)
    ).scalar()
    if ended is not None:
        ledger.report(connection, run_id, INTERRUPTED, message)
        _remember_last(connection, ended, run_id)


def _attempt(work: Work, service: Service) -> None:
    try:
        work.reach("run_started")
        _load_everything(work, service)
        _finish(work)
    except LeaseLost:
        # The run belongs to somebody else now, or was ended: whatever is written is theirs to write.
        _log.warning("run %s lost its lease and stops", work.run_id)
        _give_up(work)
    except GenerationChanged:
        _end(work, "cancelled", "the ingestion was cleared or deleted while the run was going")
    except RunCancelled as error:
        _end(work, "cancelled", str(error))
    except RunStopped as error:
        if work.lease.cancelled.is_set():
            # What Spark was at was interrupted, and says so in its own words.
            _end(work, "cancelled", CANCELLED)
        else:
            _fail(work, error.category, str(error))
    except SourceError as error:
        kinds = {SourceMissing: MISSING, SourceForbidden: AUTH}
        _fail(work, kinds.get(type(error), CONNECTIVITY), str(error))
    except SparkError as error:
        _fail(work, CONNECTIVITY, str(error))
    except OperationalError as error:
        _fail(work, WRITE_FAILURE, f"the ledger's database failed: {error.orig}; nothing was lost, run again")
    except OSError as error:
        _fail(work, WRITE_FAILURE, f"{error}; nothing was lost, run again")
    except Exception as error:
        if not _is_ours(work):
            # Whoever has the work now took away what was missed here: a branch, a batch that was open.
            _log.warning("run %s lost its lease and stops: %s", work.run_id, first_line(error))
            _give_up(work)
        elif work.lease.cancelled.is_set():
            _end(work, "cancelled", CANCELLED)
        elif type(error).__module__.startswith("pyspark."):
            stopped = run_error(error)
            _fail(work, stopped.category, str(stopped))
        else:
            _log.exception("run %s failed by a fault of ours", work.run_id)
            _fail(work, INTERNAL, f"an error in the autoloader itself: {type(error).__name__}: {first_line(error)}")


def _load_everything(work: Work, service: Service) -> None:
    settle(work)
    clean_up(work)
    work.reach("settled")
    if work.deleted:
        raise RunCancelled("the ingestion was deleted; what it had left unfinished was taken back")
    work.step("discovering")
    found = discover(work.database, work.ingestion_id, work.spec, work.created_at, work.lease.hold_run)
    limits = work.spec.limits or Limits(
        max_files_per_batch=service.settings.max_files_per_batch,
        max_bytes_per_batch=service.settings.max_bytes_per_batch,
        max_attempts=service.settings.max_attempts,
    )
    with work.database.write() as connection:
        if work.retry_of is not None:
            ledger.wait_again(connection, work.ingestion_id, work.retry_of)
        take_up_failed(connection, work.ingestion_id, limits.max_attempts)
        for path, why in found.unreadable:
            ledger.report(connection, work.run_id, DATA_MALFORMED, why, file=path)
        counted = {"files_found": found.listed, "files_held": found.held, "files_skipped": found.skipped}
        planned = ledger.count_waiting(connection, work.ingestion_id)
        ledger.progress(connection, work.run_id, "discovered", files_planned=planned, **counted)
    work.reach("discovered")
    while _load_next(work, limits):
        pass


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
        known = without(work.schema, work.lineage) if state is not None else given_schema(work)
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
    if guessed is None and (
        known is not None or seen is None or any(new_fields(without(work.schema, work.lineage), seen))
    ):
        ready = follow_schema(work, ready, looks)
    batch, taken = claim_batch(work, ready, files, looks)
    if batch is None:
        return True
    work.reach("claimed")
    wanted = {file.path for file in taken}
    check = Check(work, taken, guessed, known) if guessed is not None and known is not None else None
    load(work, batch, taken, lambda: [look for look in looks if look.path in wanted], check)
    return True


def _finish(work: Work) -> None:
    with work.database.read() as connection:
        row = connection.execute(select(runs).where(runs.c.id == work.run_id)).one()
        held = connection.execute(
            select(func.count()).where(
                processed_files.c.ingestion_id == work.ingestion_id,
                processed_files.c.status == ledger.HELD,
                processed_files.c.current,
            )
        ).scalar_one()
    if held:
        work.note(f"held: {held} files changed after they were loaded")
    if row.error_count == 0:
        message = None if row.files_processed else _nothing(work, row)
        _end(work, "success", message)
    elif row.files_processed == 0:
        _end(work, "failed", f"no file was loaded; {_files(row.error_count)} could not be")
    else:
        _end(work, "partial", f"{_files(row.files_processed)} loaded; {_files(row.error_count)} could not be")


def _files(number: int) -> str:
    return "1 file" if number == 1 else f"{number} files"


def _nothing(work: Work, row: Any) -> str:
    if work.left_to_others:
        return f"nothing was loaded; {_files(len(work.left_to_others))} wait for another ingestion"
    return "nothing new" if row.files_found else "there are no files at the source"


def _fail(work: Work, category: str, message: str) -> None:
    if work.closing.is_set():
        # Whatever failed, failed because the service let go of Spark and of the database.
        category = INTERRUPTED
        message = "the service was stopped in the middle of the run; the next run finishes its work"
    _end(work, "failed", message, category)


def _end(work: Work, status: str, message: str | None, category: str | None = None) -> None:
    """Write how the run ended, and let go of everything that it held."""
    message = redact(message) if message is not None else None
    with work.database.write() as connection:
        ended = connection.execute(
            update(runs)
            .where(runs.c.id == work.run_id, runs.c.lease_token == work.lease.token)
            .values(status=status, message=message, ended_at=ledger.now(), step=None, lease_token=None)
        )
        if not ended.rowcount:
            return
        if category is not None and message is not None:
            ledger.report(connection, work.run_id, category, message)
        connection.execute(
            update(batches).where(batches.c.lease_token == work.lease.token).values(lease_expires_at=0.0)
        )
        _remember_last(connection, work.ingestion_id, work.run_id)
        if status in ("success", "partial"):
            connection.execute(
                update(ingestions)
                .where(ingestions.c.id == work.ingestion_id, ingestions.c.status.in_(("draft", "error")))
                .values(status="active", status_reason=None)
            )


def _remember_last(connection: Connection, ingestion_id: str, run_id: str) -> None:
    connection.execute(
        update(ingestions).where(ingestions.c.id == ingestion_id).values(last_run_id=run_id, last_run_at=ledger.now())
    )


def _is_ours(work: Work) -> bool:
    with work.database.read() as connection:
        token = connection.execute(select(runs.c.lease_token).where(runs.c.id == work.run_id)).scalar()
    return bool(token == work.lease.token)


def _give_up(work: Work) -> None:
    """A worker without a lease ends its own run, if nobody else has: it did not do its work."""
    with work.database.write() as connection:
        connection.execute(
            update(batches).where(batches.c.lease_token == work.lease.token).values(lease_expires_at=0.0)
        )
        mine = connection.execute(
            select(runs.c.id).where(runs.c.id == work.run_id, runs.c.lease_token == work.lease.token)
        ).scalar()
        if mine is not None:
            end_dead_run(connection, work.run_id)


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
