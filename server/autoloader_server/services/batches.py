"""Batches: listed, and those that a quality rule holds released or dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from sqlalchemy import Connection, RowMapping, and_, or_, select

from autoloader_sdk.models import BatchData, RunReceipt
from autoloader_server.db.locks import lock_ingestion
from autoloader_server.db.tables import batches
from autoloader_server.engine import held
from autoloader_server.engine.batch_record import BatchStatus, Verdict
from autoloader_server.engine.killpoints import reach
from autoloader_server.services.errors import Conflict, NotFound, known_status
from autoloader_server.services.ingestions import row_of
from autoloader_server.services.paging import Page, cursor_of, key_of
from autoloader_server.services.runs import request as request_run

if TYPE_CHECKING:
    from autoloader_server.service import Service

Decision = Literal["release", "drop"]
STATUSES: tuple[str, ...] = tuple(BatchStatus)
_SHOWN = (
    *("id", "ingestion_id", "run_id", "status", "reason", "files", "bytes", "records"),
    *("created_at", "ended_at"),
)
_MEANING = {
    BatchStatus.OPEN: "the next run loads it or takes it back, unless one is at it",
    BatchStatus.LANDED: "its rows are in the table",
    BatchStatus.BURNING: "it is being taken back",
    BatchStatus.BURNED: "it was taken back, and nothing of it is in the table",
}


def find(
    service: Service, ingestion_id: str, *, status: Sequence[str] = (), limit: int = 100, cursor: str | None = None
) -> Page[BatchData]:
    """The batches of an ingestion, newest first. Raises NotFound."""
    wanted = [known_status(each, STATUSES) for each in status]
    table = batches.c
    query = select(*(table[name] for name in _SHOWN)).where(table.ingestion_id == ingestion_id)
    if wanted:
        query = query.where(table.status.in_(wanted))
    if cursor is not None:
        (after,) = key_of(cursor, str)
        created = select(table.created_at).where(table.id == after).scalar_subquery()
        query = query.where(or_(table.created_at < created, and_(table.created_at == created, table.id < after)))
    query = query.order_by(table.created_at.desc(), table.id.desc()).limit(limit + 1)
    with service.database.read() as connection:
        row_of(connection, ingestion_id)
        rows = connection.execute(query).mappings().all()
    shown = rows[:limit]
    following = cursor_of(shown[-1]["id"]) if len(rows) > limit else None
    return Page([BatchData.model_validate(dict(row)) for row in shown], following)


def get(service: Service, ingestion_id: str, batch_id: str) -> BatchData:
    """One batch; raises NotFound."""
    with service.database.read() as connection:
        row_of(connection, ingestion_id)
        row = _row(connection, ingestion_id, batch_id)
    return BatchData.model_validate({name: row[name] for name in _SHOWN})


def decide(
    service: Service,
    ingestion_id: str,
    batch_id: str,
    decision: Decision,
    *,
    force: bool = False,
    idempotency_key: str | None = None,
) -> RunReceipt:
    """Release or drop a held batch, and ask for the run that carries it out. To say the same again changes nothing.

    Raises NotFound; Conflict where it is not held (any more), or the ingestion is paused (unless `force`).
    """
    with service.database.write() as connection:
        lock_ingestion(connection, ingestion_id)
        if row_of(connection, ingestion_id)["status"] == "paused" and not force:
            raise Conflict(
                f"ingestion {ingestion_id} is paused, so no run could carry it out: resume it, or send force=true"
            )
        row = _row(connection, ingestion_id, batch_id)
        if not _decided(row, decision):
            if row["status"] != BatchStatus.HELD:
                meaning = _MEANING.get(row["status"], "")
                raise Conflict(f"batch {batch_id} is not held: it is {row['status']}, {meaning}")
            if decision == "release":
                held.release(connection, batch_id)
            else:
                held.drop(connection, batch_id, row["reason"])
    reach("batch_released" if decision == "release" else "batch_dropped", service.home)
    return request_run(service, ingestion_id, trigger=decision, force=True, idempotency_key=idempotency_key)


def _decided(row: RowMapping, decision: Decision) -> bool:
    """Whether the same was decided before; a request that is sent again after a crash is answered alike."""
    said = (Verdict.RELEASING, Verdict.RELEASED) if decision == "release" else (Verdict.DROPPED,)
    return row["verdict"] in said


def _row(connection: Connection, ingestion_id: str, batch_id: str) -> RowMapping:
    query = select(batches).where(batches.c.id == batch_id, batches.c.ingestion_id == ingestion_id)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFound(f"batch {batch_id} of ingestion {ingestion_id} not found")
    return row
