"""Forget which files were loaded, so that the next run loads them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, or_, select, update

from autoloader_sdk.models import ClearedFiles
from autoloader_server.db.engine import ROWS_PER_TRANSACTION
from autoloader_server.db.tables import batches, ingestions, processed_files
from autoloader_server.engine.ledger import UNFINISHED
from autoloader_server.services.clock import now
from autoloader_server.services.ingestions import row_of

if TYPE_CHECKING:
    from autoloader_server.service import Service


def clear_processed_files(service: Service, ingestion_id: str) -> ClearedFiles:
    """Forget the ingestion's files. The generation is raised first, so that older work still going is burned.

    Files of a batch that is neither landed nor burned yet stay until the next run has settled it: whether
    their rows are in the table is not known before. Raises NotFound.
    """
    with service.database.write() as connection:
        row_of(connection, ingestion_id)
        connection.execute(
            update(ingestions)
            .where(ingestions.c.id == ingestion_id)
            .values(
                generation=ingestions.c.generation + 1,
                table_uuid=None,
                last_snapshot_id=None,
                updated_at=now(),
            )
        )
    unsettled = select(batches.c.id).where(batches.c.ingestion_id == ingestion_id, batches.c.status.in_(UNFINISHED))
    its = (
        processed_files.c.ingestion_id == ingestion_id,
        or_(processed_files.c.batch_id.is_(None), processed_files.c.batch_id.not_in(unsettled)),
    )
    cleared = 0
    while True:
        some = select(processed_files.c.id).where(*its).limit(ROWS_PER_TRANSACTION)
        with service.database.write() as connection:
            gone = connection.execute(delete(processed_files).where(processed_files.c.id.in_(some))).rowcount
        cleared += gone
        if gone < ROWS_PER_TRANSACTION:
            break
    return ClearedFiles(
        message=f"Cleared {cleared} processed file records", files_cleared=cleared, ingestion_id=ingestion_id
    )
