"""Who may be past a line at a time, on PostgreSQL. On SQLite `BEGIN IMMEDIATE` has let in one writer alone.

A transaction that looks first and writes then, or that writes more than one row of an ingestion, begins with the
ingestion's lock: what it read stays true until it commits, and no two of them can wait for each other.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, func, select

from autoloader_server.db.tables import batches, ingestions, runs


def lock_ingestion(connection: Connection, ingestion_id: str | ColumnElement[str] | ScalarSelect[Any]) -> None:
    """Wait until no other transaction holds this ingestion; then hold it until the end of this one."""
    if not _has_one_writer(connection):
        connection.execute(select(ingestions.c.id).where(ingestions.c.id == ingestion_id).with_for_update())


def lock_ingestion_of_run(connection: Connection, run_id: str) -> None:
    """The same, by one of its runs."""
    lock_ingestion(connection, select(runs.c.ingestion_id).where(runs.c.id == run_id).scalar_subquery())


def lock_ingestion_of_batch(connection: Connection, batch_id: str) -> None:
    """The same, by one of its batches."""
    lock_ingestion(connection, select(batches.c.ingestion_id).where(batches.c.id == batch_id).scalar_subquery())


def only_one(connection: Connection, what: str) -> None:
    """Wait until no other transaction is at `what`; where an ingestion is locked too, its lock comes first."""
    if not _has_one_writer(connection):
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"autoloader {what}", 0))))


def _has_one_writer(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"
