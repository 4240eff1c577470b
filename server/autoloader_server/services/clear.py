"""Forget which files were loaded, so that the next run loads them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, case, delete, exists, or_, select, update

from autoloader_sdk.models import ClearedFiles, FileStatus
from autoloader_server.db.clock import now
from autoloader_server.db.engine import ROWS_PER_TRANSACTION, Database
from autoloader_server.db.tables import batches, ingestions, processed_files
from autoloader_server.engine.batch_record import ENDED
from autoloader_server.services.ingestions import row_of

if TYPE_CHECKING:
    from autoloader_server.service import Service


def clear_processed_files(service: Service, ingestion_id: str) -> ClearedFiles:
    """Forget the ingestion's files. The generation is raised first, so that older work still going is burned.

    Files of a batch that is neither landed nor burned yet stay until the next run has settled it: whether
    their rows are in the table is not known before. So do those that a run begun meanwhile has loaded. The table is
    forgotten last: a clear that dies half-way can not be followed by a run into another table. Where rows of such files
    are in it, it is not forgotten: nobody would miss them if it were dropped.

    Raises NotFound.
    """
    with service.database.write() as connection:
        old = row_of(connection, ingestion_id)["generation"]
        this = ingestions.c.id == ingestion_id
        connection.execute(update(ingestions).where(this).values(generation=old + 1, updated_at=now()))
    older = select(batches.c.id).where(
        batches.c.ingestion_id == ingestion_id,
        batches.c.generation <= old,
        batches.c.status.in_(ENDED),
    )
    its = (
        processed_files.c.ingestion_id == ingestion_id,
        or_(processed_files.c.batch_id.is_(None), processed_files.c.batch_id.in_(older)),
    )
    # A path's older versions first: were a newer one gone and an older one left, it would be taken for a new path.
    cleared = _delete(service.database, *its, processed_files.c.current.is_(False)) + _delete(service.database, *its)
    status = case((ingestions.c.status == "error", "active"), else_=ingestions.c.status)
    loaded = (processed_files.c.ingestion_id == ingestion_id, processed_files.c.status == FileStatus.SUCCESS)
    with service.database.write() as connection:
        connection.execute(update(ingestions).where(this).values(status=status, status_reason=None))
        connection.execute(
            update(ingestions).where(this, ~exists().where(*loaded)).values(table_uuid=None, last_snapshot_id=None)
        )
    return ClearedFiles(
        message=f"Cleared {cleared} processed file records", files_cleared=cleared, ingestion_id=ingestion_id
    )


def _delete(database: Database, *which: ColumnElement[bool]) -> int:
    """Delete rows of the ledger, a limited number in a transaction; how many."""
    deleted = 0
    while True:
        some = select(processed_files.c.id).where(*which).limit(ROWS_PER_TRANSACTION)
        with database.write() as connection:
            gone = connection.execute(delete(processed_files).where(processed_files.c.id.in_(some))).rowcount
        deleted += gone
        if gone < ROWS_PER_TRANSACTION:
            return deleted
