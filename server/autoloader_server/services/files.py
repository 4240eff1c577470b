"""The ledger, read: each file version and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import literal, or_, select, tuple_

from autoloader_sdk.models import FileData, FileStatus
from autoloader_server.db.tables import processed_files
from autoloader_server.services.errors import known_status
from autoloader_server.services.ingestions import row_of
from autoloader_server.services.paging import Page, cursor_of, key_of

if TYPE_CHECKING:
    from autoloader_server.service import Service

STATUSES: tuple[str, ...] = tuple(FileStatus)
# Of a file version, what is answered.
SHOWN = (
    *("path", "status", "reason", "size", "etag", "modified_at", "records", "bad_records", "run_id", "batch_id"),
    *(
        "attempts",
        "first_seen_at",
        "loaded_at",
        "category",
        "retryable",
        "next_attempt_at",
        "ordinal",
        "current",
    ),
)


def find(
    service: Service,
    ingestion_id: str,
    *,
    status: Sequence[str] = (),
    path: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[FileData]:
    """The file versions of an ingestion by path and version.

    `path` keeps the file itself, what lies below it as a folder, and files of that name in any folder. Raises
    NotFound.
    """
    wanted = [known_status(each, STATUSES) for each in status]
    table = processed_files.c
    query = select(*(table[name] for name in SHOWN)).where(table.ingestion_id == ingestion_id)
    if wanted:
        query = query.where(table.status.in_(wanted))
    if path is not None:
        query = query.where(
            or_(
                table.path == path,
                table.path.startswith(path.rstrip("/") + "/", autoescape=True),
                table.path.endswith("/" + path.lstrip("/"), autoescape=True),
            )
        )
    if cursor is not None:
        last_path, last_ordinal = key_of(cursor, str, int)
        # As one value: of two conditions joined by OR neither database makes a range of the index.
        after = tuple_(literal(str(last_path), table.path.type), literal(int(last_ordinal)))
        query = query.where(tuple_(table.path, table.ordinal) > after)
    query = query.order_by(table.path, table.ordinal).limit(limit + 1)
    with service.database.read() as connection:
        row_of(connection, ingestion_id)
        rows = connection.execute(query).mappings().all()
    shown = rows[:limit]
    following = cursor_of(shown[-1]["path"], shown[-1]["ordinal"]) if len(rows) > limit else None
    return Page([FileData.model_validate(dict(row)) for row in shown], following)
