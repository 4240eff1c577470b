"""A run's row: what it is doing, what went wrong, and how it ended. Nothing else ends a run."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, func, insert, literal, select, update

from autoloader_sdk.models import UNENDED, RunStatus
from autoloader_server.db.clock import now
from autoloader_server.db.locks import lock_ingestion_of_run
from autoloader_server.db.tables import ingestions, run_errors, runs
from autoloader_server.engine.errors import INTERRUPTED
from autoloader_server.engine.run_log import say, tenant_of
from autoloader_server.security.redact import redact

# In the log; the run's errors have all of them.
_FAILURES_TOLD = 100


def progress(connection: Connection, run_id: str, step: str, **known: int | str | ColumnElement[int]) -> None:
    """What a run is doing, and what else of its row is known by now. One that has ended is doing nothing any more."""
    its = (runs.c.id == run_id, runs.c.status == RunStatus.RUNNING)
    before = connection.execute(select(runs.c.step).where(*its)).one_or_none()
    if before is not None:
        connection.execute(update(runs).where(*its).values(step=step, **known))
        if before.step != step:
            say(connection, run_id, step)


def note(connection: Connection, run_id: str, sentence: str) -> None:
    """A sentence that a reader of the run should see. The same one is kept once."""
    sentence = redact(sentence)
    notes = connection.execute(select(runs.c.notes).where(runs.c.id == run_id).with_for_update()).scalar_one()
    if sentence not in notes:
        connection.execute(update(runs).where(runs.c.id == run_id).values(notes=[*notes, sentence]))
        say(connection, run_id, sentence, "warning")


def report(connection: Connection, run_id: str, category: str, message: str, *, file: str | None = None) -> None:
    """One entry of a run's `errors`; one for a file counts in `error_count`."""
    connection.execute(
        insert(run_errors).values(
            tenant_id=tenant_of(run_id),
            run_id=run_id,
            file=file,
            error_type=category,
            message=redact(message),
            timestamp=now(),
        )
    )
    if file is None:
        say(connection, run_id, message, "error")
        return
    counted = update(runs).where(runs.c.id == run_id).values(error_count=runs.c.error_count + 1)
    count = connection.execute(counted.returning(runs.c.error_count)).scalar() or 0
    if count <= _FAILURES_TOLD:
        say(connection, run_id, f"{file} failed: {message}", "error")
    elif count == _FAILURES_TOLD + 1:
        say(connection, run_id, "more files failed: the run's errors name each of them", "error")


def files_told_of(connection: Connection, run_id: str) -> set[str]:
    """The files that the run's errors name."""
    its = (run_errors.c.run_id == run_id, run_errors.c.file.is_not(None))
    return set(connection.execute(select(run_errors.c.file).where(*its)).scalars())


def end(
    connection: Connection,
    run_id: str,
    status: RunStatus,
    message: str | None,
    *only: ColumnElement[bool],
    category: str | None = None,
) -> bool:
    """Write how a run ended, once: with its end, its sentence, and no lease; its ingestion remembers it as its last.

    `category` reports the message as an error of the run's too. False where the run had ended before, or is not as
    the conditions of `only` say.
    """
    lock_ingestion_of_run(connection, run_id)
    moment = now()
    message = None if message is None else redact(message)
    ingestion_id = connection.execute(
        update(runs)
        .where(runs.c.id == run_id, runs.c.status.in_(UNENDED), *only)
        .values(
            status=status,
            message=message,
            started_at=func.coalesce(runs.c.started_at, literal(moment, runs.c.started_at.type)),
            ended_at=moment,
            step=None,
            lease_token=None,
        )
        .returning(runs.c.ingestion_id)
    ).scalar()
    if ingestion_id is None:
        return False
    if category is not None and message is not None:
        report(connection, run_id, category, message)
    told = "" if message is None or category is not None else f": {message}"
    say(connection, run_id, f"ended: {status}{told}", "info" if status == RunStatus.SUCCESS else "warning")
    its = ingestions.c.id == ingestion_id
    connection.execute(update(ingestions).where(its).values(last_run_id=run_id, last_run_at=moment))
    if status in (RunStatus.SUCCESS, RunStatus.PARTIAL):
        connection.execute(
            update(ingestions)
            .where(its, ingestions.c.status.in_(("draft", "error")))
            .values(status="active", status_reason=None)
        )
    return True


def end_dead(connection: Connection, run_id: str, *only: ColumnElement[bool]) -> bool:
    """A run whose worker died ends as failed; the next run settles what it left."""
    return end(
        connection,
        run_id,
        RunStatus.FAILED,
        "the worker died in the middle of the run; the next run of this ingestion finishes its work",
        runs.c.status == RunStatus.RUNNING,
        *only,
        category=INTERRUPTED,
    )


def cancel(connection: Connection, run_id: str, message: str) -> None:
    """End a queued run now, with this message; ask a running one to stop at its next safe point."""
    if not end(connection, run_id, RunStatus.CANCELLED, message, runs.c.status == RunStatus.QUEUED):
        going = (runs.c.id == run_id, runs.c.status == RunStatus.RUNNING)
        connection.execute(update(runs).where(*going).values(cancel_requested=True))
