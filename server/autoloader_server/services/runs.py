"""Runs: asked for, looked at, cancelled, retried."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, RowMapping, and_, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from autoloader_sdk.models import UNENDED, RunData, RunError, RunReceipt, RunStatus
from autoloader_server.db.clock import now
from autoloader_server.db.locks import lock_ingestion
from autoloader_server.db.tables import batches, run_errors, runs
from autoloader_server.engine import run_record
from autoloader_server.engine.batch_record import BatchStatus
from autoloader_server.security.redact import redact
from autoloader_server.services.errors import Conflict, NotFound
from autoloader_server.services.idempotency import KEPT
from autoloader_server.services.ingestions import row_of
from autoloader_server.services.paging import Page, bad_cursor, cursor_of, key_of

if TYPE_CHECKING:
    from autoloader_server.service import Service

_NAMESPACE = uuid.UUID("6f0f3c7e-3d1c-5c0e-9a63-4a7c4a2f7d11")


def request(
    service: Service,
    ingestion_id: str,
    *,
    trigger: str = "manual",
    force: bool = False,
    retry_of: str | None = None,
    idempotency_key: str | None = None,
) -> RunReceipt:
    """Ask for a run: it is there as `queued` at once, and carried out behind the answer.

    While a run waits, further requests get that one's receipt. Raises NotFound, or Conflict where the
    ingestion is paused (unless `force`).
    """
    asked: dict[str, Any] = {"trigger": trigger, "force": force, "retry_of": retry_of, "key": idempotency_key}
    try:
        run_id, ready, message = _queue(service, ingestion_id, **asked)
    except IntegrityError:
        # Another process was quicker; its run is the one that waits.
        run_id, ready, message = _queue(service, ingestion_id, **asked)
    if ready:
        service.queue.submit(run_id, ingestion_id)
    return RunReceipt(status="accepted", run_id=run_id, method="direct", message=message)


def retry(
    service: Service, ingestion_id: str, run_id: str, *, force: bool = False, key: str | None = None
) -> RunReceipt:
    """A new run over the files that failed in `run_id`, and what is new; raises Conflict while that one goes on."""
    original = get(service, ingestion_id, run_id)
    if original.status in UNENDED:
        raise Conflict(f"run {run_id} is {original.status}: it can be retried when it has ended")
    receipt = request(service, ingestion_id, trigger="retry", force=force, retry_of=run_id, idempotency_key=key)
    return receipt.model_copy(update={"status": "retry_scheduled", "original_run_id": run_id})


def cancel(service: Service, ingestion_id: str, run_id: str) -> RunData:
    """End a queued run now, a running one at its next safe point; a finished one is left as it is."""
    with service.database.write() as connection:
        row_of_run(connection, ingestion_id, run_id)
        run_record.cancel(connection, run_id, "cancelled before it started")
    return get(service, ingestion_id, run_id)


def get(service: Service, ingestion_id: str, run_id: str) -> RunData:
    """One run, also of an ingestion that was deleted; raises NotFound."""
    with service.database.read() as connection:
        return _with_errors(service, connection, [row_of_run(connection, ingestion_id, run_id)])[0]


def find(
    service: Service, ingestion_id: str, *, days: int = 30, limit: int = 100, cursor: str | None = None
) -> Page[RunData]:
    """The runs of the last days, newest first; none where the ingestion is not known."""
    since = now() - timedelta(days=days)
    query = select(runs).where(runs.c.ingestion_id == ingestion_id, runs.c.created_at >= since)
    if cursor is not None:
        stamp, after = key_of(cursor, str, str)
        created = _moment_of(str(stamp))
        query = query.where(
            or_(runs.c.created_at < created, and_(runs.c.created_at == created, runs.c.id < str(after)))
        )
    query = query.order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(limit + 1)
    with service.database.read() as connection:
        rows = connection.execute(query).mappings().all()
        shown = list(rows[:limit])
        items = _with_errors(service, connection, shown)
    more = len(rows) > limit
    return Page(items, cursor_of(shown[-1]["created_at"].isoformat(), shown[-1]["id"]) if more else None)


def _moment_of(stamp: str) -> datetime:
    """The time in a cursor, which may be anybody's invention."""
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        raise bad_cursor() from None
    if moment.tzinfo is None:
        raise bad_cursor()
    return moment


def _queue(
    service: Service, ingestion_id: str, *, trigger: str, force: bool, retry_of: str | None, key: str | None
) -> tuple[str, bool, str]:
    """Insert a queued run, or find the one that is there: its id, whether it can start now, a sentence."""
    run_id = str(uuid.uuid4() if key is None else uuid.uuid5(_NAMESPACE, f"{ingestion_id} {key}"))
    with service.database.write() as connection:
        lock_ingestion(connection, ingestion_id)
        ingestion = row_of(connection, ingestion_id)
        its = runs.c.ingestion_id == ingestion_id
        going = connection.execute(select(runs.c.id).where(its, runs.c.status == RunStatus.RUNNING)).scalar()
        known = connection.execute(select(runs.c.status, runs.c.created_at).where(runs.c.id == run_id)).one_or_none()
        if known is not None and now() - known.created_at > KEPT:
            # The key was forgotten since: this is another request.
            known, run_id = None, str(uuid.uuid4())
        if known is not None:
            return run_id, known.status == RunStatus.QUEUED and going is None, "this run was asked for already"
        if ingestion["status"] == "paused" and not force:
            raise Conflict(f"ingestion {ingestion_id} is paused: resume it, or run it once with force=true")
        waiting = connection.execute(select(runs.c.id).where(its, runs.c.status == RunStatus.QUEUED)).scalar()
        if waiting is not None:
            if retry_of is not None:
                mine = runs.c.retry_of.is_(None) | (runs.c.retry_of == retry_of)
                taken = connection.execute(update(runs).where(runs.c.id == waiting, mine).values(retry_of=retry_of))
                if not taken.rowcount:
                    raise Conflict(f"run {waiting} waits to retry another run: ask again when it has started")
            return str(waiting), going is None, "a run is waiting already: this is its receipt"
        connection.execute(
            runs.insert().values(
                id=run_id,
                ingestion_id=ingestion_id,
                status=RunStatus.QUEUED,
                trigger=trigger,
                created_at=now(),
                generation=ingestion["generation"],
                retry_of=retry_of,
            )
        )
    if going is not None:
        return run_id, False, f"the run starts when run {going} has ended"
    return run_id, True, "the run starts now"


def row_of_run(connection: Connection, ingestion_id: str, run_id: str) -> RowMapping:
    """The row of a run, also of an ingestion that was deleted; raises NotFound."""
    query = select(runs).where(runs.c.id == run_id, runs.c.ingestion_id == ingestion_id)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFound(f"run {run_id} of ingestion {ingestion_id} not found")
    return row


def _with_errors(service: Service, connection: Connection, rows: list[RowMapping]) -> list[RunData]:
    by_run: dict[str, list[RowMapping]] = {row["id"]: [] for row in rows}
    query = select(run_errors).where(run_errors.c.run_id.in_(by_run)).order_by(run_errors.c.id)
    for error in connection.execute(query).mappings():
        by_run[error["run_id"]].append(error)
    landed = (batches.c.run_id.in_(by_run), batches.c.status == BatchStatus.LANDED)
    counted = select(batches.c.run_id, func.count()).where(*landed).group_by(batches.c.run_id)
    batches_of = dict(connection.execute(counted).tuples().all())
    return [_as_it_ended(service, row, _data(row, by_run[row["id"]], batches_of.get(row["id"], 0))) for row in rows]


def _as_it_ended(service: Service, row: RowMapping, run: RunData) -> RunData:
    """A run that the ledger takes for going on, since its end could not be written down yet."""
    untold = service.untold_end(run.id, row["lease_token"]) if run.status == RunStatus.RUNNING else None
    if untold is None:
        return run
    status, message, category = untold.ending
    message, at = None if message is None else redact(message), untold.moment
    told = [RunError(error_type=category, message=message, timestamp=at)] if category else []
    took = run.metrics.model_copy(
        update={"duration_seconds": round((at - (row["started_at"] or at)).total_seconds(), 3)}
    )
    ended = {"status": str(status), "message": message, "ended_at": at, "step": None, "metrics": took}
    return run.model_copy(update=ended | {"errors": [*run.errors, *told]})


def _data(row: RowMapping, errors: list[RowMapping], landed: int) -> RunData:
    end = row["ended_at"] or (now() if row["started_at"] else None)
    seconds = (end - row["started_at"]).total_seconds() if end and row["started_at"] else 0.0
    shown = (
        "id",
        "ingestion_id",
        "started_at",
        "ended_at",
        "status",
        "trigger",
        "spark_job_id",
        "flow_run_id",
        "message",
    )
    extra = ("created_at", "step", "retry_of", "cancel_requested")
    return RunData.model_validate(
        {
            **{name: row[name] for name in (*shown, *extra)},
            "metrics": {
                "files_processed": row["files_processed"],
                "records_ingested": row["records_ingested"],
                "bytes_read": row["bytes_read"],
                "bytes_written": row["bytes_written"],
                "duration_seconds": round(max(seconds, 0.0), 3),
                "error_count": row["error_count"],
                "bad_records": row["bad_records"],
                "held": row["files_held"],
                "columns_ignored": row["columns_ignored"],
                "skipped": row["files_skipped"],
                "files_found": row["files_found"],
                "files_planned": row["files_planned"],
                "batches": landed,
            },
            "errors": [
                {name: error[name] for name in ("file", "error_type", "message", "timestamp")} for error in errors
            ],
            "warnings": row["notes"] or [],
        }
    )
