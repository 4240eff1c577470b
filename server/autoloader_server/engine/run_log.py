"""What a run says of itself, line by line, in the transaction that does it: so the log tells what was done."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import ColumnElement, Connection, func, insert, select

from autoloader_server.db.clock import now
from autoloader_server.db.tables import run_logs, runs
from autoloader_server.db.tenancy import DEFAULT_TENANT
from autoloader_server.security.redact import redact

Level = Literal["info", "warning", "error"]


def say(connection: Connection, run_id: str, message: str, level: Level = "info") -> None:
    """One line; secrets in it are masked."""
    line = {"run_id": run_id, "timestamp": now(), "level": level, "message": redact(message)}
    connection.execute(insert(run_logs).values(tenant_id=tenant_of(run_id), **line))


def tenant_of(run_id: str) -> ColumnElement[str]:
    """Whose run it is: what is told of it is that tenant's, also where it is told by who serves all of them."""
    return func.coalesce(select(runs.c.tenant_id).where(runs.c.id == run_id).scalar_subquery(), DEFAULT_TENANT)
