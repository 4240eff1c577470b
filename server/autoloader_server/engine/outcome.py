"""How a run ends, told by what it did or by what stopped it."""

from __future__ import annotations

import errno
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from autoloader_sdk.discovery.errors import SourceError, SourceForbidden, SourceMissing
from autoloader_sdk.models import FileStatus, RunStatus
from autoloader_server.db.engine import DATABASE_AWAY, disk_full
from autoloader_server.db.tables import ingestions, processed_files, runs
from autoloader_server.engine.errors import (
    AUTH,
    CANCELLED,
    CONNECTIVITY,
    INTERNAL,
    INTERRUPTED,
    MISSING,
    UNKNOWN,
    WRITE_FAILURE,
    GenerationChanged,
    LeaseLost,
    RunCancelled,
    RunStopped,
    fault_of_ours,
)
from autoloader_server.engine.explain import DISK_FULL, run_error
from autoloader_server.engine.held import held_by
from autoloader_server.engine.read import RESCUED_DATA
from autoloader_server.engine.work import Work
from autoloader_server.security.credentials import CredentialMissing
from autoloader_server.security.redact import logger
from autoloader_server.security.secrets import SecretsKeyError
from autoloader_server.spark.errors import SparkError
from autoloader_server.spark.sessions import spark_unavailable

_log = logger(__name__)
_OUTDATED = "the ingestion was cleared, refreshed or deleted while the run was going"


# What failed so while the service closed, failed because it let go of Spark and of the database.
_BY_CLOSING = frozenset({CONNECTIVITY, INTERNAL, INTERRUPTED, UNKNOWN, WRITE_FAILURE})


class Outcome(NamedTuple):
    """A run's last status and sentence; with a category, the sentence is an error of the run's too."""

    status: RunStatus
    message: str | None
    category: str | None = None


def of_work(work: Work) -> Outcome:
    """How a run ended that went through all of its steps."""
    with work.database.read() as connection:
        row = connection.execute(select(runs).where(runs.c.id == work.run_id)).one()
        held = connection.execute(
            select(func.count()).where(
                processed_files.c.ingestion_id == work.ingestion_id,
                processed_files.c.status == FileStatus.HELD,
                processed_files.c.current,
                processed_files.c.batch_id.is_(None),
            )
        ).scalar_one()
        batches_held = held_by(connection, work.ingestion_id)
        failed_before = connection.execute(
            select(func.count()).where(
                processed_files.c.ingestion_id == work.ingestion_id,
                processed_files.c.status == FileStatus.FAILED,
                processed_files.c.current,
                processed_files.c.run_id.is_distinct_from(work.run_id),
            )
        ).scalar_one()
    if failed_before:
        work.note(f"failed before: {files(failed_before)}, still in no table; status FAILED lists them")
    if held:
        work.note(
            f"held: {files(held)} changed after being loaded; the rows that are there stay; status HELD lists them"
        )
    if batches_held:
        number = f"{files(sum(each.files for each in batches_held))} in {_batches(len(batches_held))}"
        work.note(f"held: {number} to be released or dropped, such as {batches_held[0].reason}")
    if row.bad_records:
        number = "1 bad record was" if row.bad_records == 1 else f"{row.bad_records} bad records were"
        where = f"set aside in {work.quarantine.table.name}" if work.sets_aside else f"rescued: {RESCUED_DATA} has them"
        work.note(f"{number} {where}")
    now_held = [each for each in batches_held if each.run_id == work.run_id]
    too_few = f"; {files(sum(each.files for each in now_held))} held back: {now_held[0].reason}" if now_held else ""
    failed = f"{files(row.error_count)} could not be{too_few}"
    if row.error_count == 0 and row.files_processed == 0:
        return Outcome(RunStatus.SUCCESS, f"nothing was loaded{too_few}" if too_few else _nothing(work, row))
    loaded = f"{files(row.files_processed)} loaded"
    if row.error_count == 0:
        return Outcome(RunStatus.SUCCESS, f"{loaded}{too_few}" if too_few else None)
    if row.files_processed == 0:
        return Outcome(RunStatus.FAILED, f"no file was loaded; {failed}")
    return Outcome(RunStatus.PARTIAL, f"{loaded}; {failed}")


def of_error(work: Work, error: Exception) -> Outcome | None:
    """How a run ended that this error stopped; None where the run belongs to somebody else by now."""
    match error:
        case LeaseLost():
            # A refresh takes away the batch, and leaves the run.
            return _outdated(work) if _is_ours(work) else None
        case GenerationChanged():
            return Outcome(RunStatus.CANCELLED, _OUTDATED)
        case RunCancelled():
            return Outcome(RunStatus.CANCELLED, str(error))
        case RunStopped():
            # What Spark was at was interrupted by a cancellation, and says so in its own words.
            return _cancelled(work) or _failed(work, error.category, str(error))
        case CredentialMissing() | SecretsKeyError():
            return _failed(work, AUTH, str(error))
        case SourceError():
            kinds = {SourceMissing: MISSING, SourceForbidden: AUTH}
            return _failed(work, kinds.get(type(error), CONNECTIVITY), str(error))
        case SparkError():
            return _failed(work, CONNECTIVITY, str(error))
        case DBAPIError() if isinstance(error, DATABASE_AWAY):
            return _failed(work, WRITE_FAILURE, _of_database(error))
        case OSError() if error.errno == errno.ENOSPC:
            return _failed(work, WRITE_FAILURE, DISK_FULL)
        case OSError():
            return _failed(work, WRITE_FAILURE, f"{error}; nothing was lost, run again")
    if not _is_ours(work):
        # Whoever has the work now took away what was missed here: a branch, a batch that was open.
        return None
    if (cancelled := _cancelled(work)) is not None:
        return cancelled
    if type(error).__module__.startswith("pyspark."):
        gone = spark_unavailable(error)
        stopped = run_error(error, work.spark) if gone is None else RunStopped(str(gone), CONNECTIVITY)
        return _failed(work, stopped.category, str(stopped))
    _log.error("run %s failed by a fault of ours", work.run_id, exc_info=error)
    return _failed(work, INTERNAL, fault_of_ours(error))


def of_fault(error: Exception) -> Outcome:
    """How a run ended that could not even find out how it did."""
    if isinstance(error, DATABASE_AWAY):
        return Outcome(RunStatus.FAILED, _of_database(error), WRITE_FAILURE)
    return Outcome(RunStatus.FAILED, fault_of_ours(error), INTERNAL)


def _of_database(error: DBAPIError) -> str:
    what = "free some space and run again; nothing was lost" if disk_full(error) else "nothing was lost, run again"
    return f"the ledger's database failed: {error.orig}; {what}"


def _cancelled(work: Work) -> Outcome | None:
    if (outdated := _outdated(work)) is not None:
        return outdated
    return Outcome(RunStatus.CANCELLED, CANCELLED) if work.lease.cancelled.is_set() else None


def _outdated(work: Work) -> Outcome | None:
    """What stopped a run whose table may have been dropped under its hands."""
    with work.database.read() as connection:
        generation = connection.execute(
            select(ingestions.c.generation).where(ingestions.c.id == work.ingestion_id)
        ).scalar()
    return Outcome(RunStatus.CANCELLED, _OUTDATED) if generation != work.generation else None


def _failed(work: Work, category: str, message: str) -> Outcome:
    if work.closing.is_set() and category in _BY_CLOSING:
        _log.info("run %s ends since the service closes; it says: %s", work.run_id, message)
        category = INTERRUPTED
        message = "the service was stopped in the middle of the run; the next run finishes its work"
    if category == CONNECTIVITY:
        work.sessions.doubt()
    return Outcome(RunStatus.FAILED, message, category)


def _is_ours(work: Work) -> bool:
    with work.database.read() as connection:
        token = connection.execute(select(runs.c.lease_token).where(runs.c.id == work.run_id)).scalar()
    return bool(token == work.lease.token)


def files(number: int) -> str:
    """A number of files, for a sentence."""
    return "1 file" if number == 1 else f"{number} files"


def _batches(number: int) -> str:
    return "1 batch" if number == 1 else f"{number} batches"


def _nothing(work: Work, row: Any) -> str:
    if work.left_to_others:
        return f"nothing was loaded; {files(len(work.left_to_others))} wait for another ingestion"
    if work.too_young:
        return f"nothing was loaded; too new: {files(work.too_young)}"
    if row.files_skipped:
        return f"nothing to load; left out, each with its reason in the ledger: {files(row.files_skipped)}"
    return "nothing new" if row.files_found else "there are no files at the source"
