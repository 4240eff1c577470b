"""The log of a run, oldest line first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from autoloader_sdk.models import RunLogLine
from autoloader_server.db.tables import run_logs
from autoloader_server.services import runs
from autoloader_server.services.paging import Page, cursor_of, key_of

if TYPE_CHECKING:
    from autoloader_server.service import Service


def find(
    service: Service, ingestion_id: str, run_id: str, *, after: int = 0, limit: int = 1000, cursor: str | None = None
) -> Page[RunLogLine]:
    """Its lines, those `after` an id, or of a later page; raises NotFound where there is no such run."""
    if cursor is not None:
        (last,) = key_of(cursor, int)
        after = int(last)
    table = run_logs.c
    query = select(table.id, table.timestamp, table.level, table.message).where(table.run_id == run_id)
    query = query.where(table.id > after).order_by(table.id).limit(limit + 1)
    with service.database.read() as connection:
        runs.row_of_run(connection, ingestion_id, run_id)
        rows = connection.execute(query).mappings().all()
    shown = rows[:limit]
    return Page([RunLogLine(**row) for row in shown], cursor_of(shown[-1]["id"]) if len(rows) > limit else None)
