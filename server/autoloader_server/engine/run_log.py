"""What a run says of itself, line by line, in the transaction that does it: so the log tells what was done."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import Connection, insert

from autoloader_server.db.clock import now
from autoloader_server.db.tables import run_logs
from autoloader_server.security.redact import redact

Level = Literal["info", "warning", "error"]


def say(connection: Connection, run_id: str, message: str, level: Level = "info") -> None:
    """One line; secrets in it are masked."""
    connection.execute(insert(run_logs).values(run_id=run_id, timestamp=now(), level=level, message=redact(message)))
