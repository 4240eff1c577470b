"""What is at a source, beside what the ledger knows of it. Read, and nothing written; no Spark."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, or_, select

from autoloader_sdk.discovery.entries import Entry, identity
from autoloader_sdk.discovery.listing import list_source
from autoloader_sdk.discovery.store import Store
from autoloader_sdk.models import FileStatus, IngestionCreate
from autoloader_server.db.engine import Database
from autoloader_server.db.tables import processed_files
from autoloader_server.engine.discover import Rules

RECENT = timedelta(days=30)
# What is not in the table, besides files that are unknown or changed since.
_WAITING = frozenset({FileStatus.DISCOVERED, FileStatus.PROCESSING, FileStatus.HELD})


@dataclass(slots=True)
class Survey:
    """Counts of one listing; bytes as the files have them.

    `files` are data (`listed` also counts hidden and empty ones), `unreadable` those of the rest that Spark cannot read
    by their names, `young` those of `files` that were written too short a time ago. `loaded` and `waiting` say what the
    ledger has of the others; `gone` were loaded and are no longer at the source. `recent_bytes` were written within the
    last 30 days.
    """

    listed: int = 0
    files: int = 0
    bytes: int = 0
    recent_bytes: int = 0
    unreadable: int = 0
    loaded: int = 0
    young: int = 0
    waiting: int = 0
    waiting_bytes: int = 0
    gone: int = 0


def survey(
    database: Database,
    ingestion_id: str | None,
    store: Store,
    spec: IngestionCreate,
    created_at: datetime,
) -> Survey:
    """Compare what is in a store with the ledger (without an id: with an empty one).

    Raises discovery's SourceError, which names the folder.
    """
    found = Survey()
    rules = Rules.of(spec, store.root, created_at)
    since_ns = int((datetime.now(UTC) - RECENT).timestamp() * 1e9)
    still_there = 0
    for page in list_source(store, pattern=spec.source.file_pattern):
        known, once_loaded = _known(database, ingestion_id, page) if ingestion_id is not None else ({}, set())
        found.listed += len(page)
        for entry in page:
            if rules.skip(entry) is not None:
                continue
            if entry.problem is not None:
                found.unreadable += 1
                continue
            found.files += 1
            found.bytes += entry.size
            found.recent_bytes += entry.size if entry.modified_ns >= since_ns else 0
            before, status = known.get(entry.path, (None, ""))
            still_there += entry.path in once_loaded
            if before != identity(entry) and rules.too_young(entry):
                found.young += 1
            elif before != identity(entry) or status in _WAITING:
                found.waiting += 1
                found.waiting_bytes += entry.size
            elif status == FileStatus.SUCCESS:
                found.loaded += 1
    if ingestion_id is not None:
        found.gone = max(0, _loaded_paths(database, ingestion_id) - still_there)
    return found


def _known(database: Database, ingestion_id: str, page: list[Entry]) -> tuple[dict[str, tuple[str, str]], set[str]]:
    """Of the paths between the page's first and its last: current identity and state, and those that were loaded."""
    files = processed_files.c
    paths = [entry.path for entry in page]
    with database.read() as connection:
        rows = connection.execute(
            select(files.path, files.identity, files.status, files.current).where(
                files.ingestion_id == ingestion_id,
                or_(files.current, files.status == FileStatus.SUCCESS),
                # Not BETWEEN: PostgreSQL does not parse it before a collation.
                files.path >= min(paths),
                files.path <= max(paths),
            )
        ).all()
    current = {row.path: (row.identity, row.status) for row in rows if row.current}
    return current, {row.path for row in rows if row.status == FileStatus.SUCCESS}


def _loaded_paths(database: Database, ingestion_id: str) -> int:
    files = processed_files.c
    with database.read() as connection:
        return connection.execute(
            select(func.count(files.path.distinct())).where(
                files.ingestion_id == ingestion_id, files.status == FileStatus.SUCCESS
            )
        ).scalar_one()
