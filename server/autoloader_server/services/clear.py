"""Forget which files were loaded, so that the next run loads them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Connection, case, delete, exists, or_, select, update

from autoloader_sdk.models import ClearedFiles, FileStatus
from autoloader_server.db.clock import now
from autoloader_server.db.engine import ROWS_PER_TRANSACTION, Database
from autoloader_server.db.locks import lock_ingestion
from autoloader_server.db.tables import batches, ingestions, processed_files
from autoloader_server.engine import held
from autoloader_server.engine.batch_record import ENDED
from autoloader_server.services.ingestions import row_of

if TYPE_CHECKING:
    from autoloader_server.service import Service


def clear_processed_files(service: Service, ingestion_id: str) -> ClearedFiles:
    """Forget the ingestion's files. The generation is raised first, so that older work still going is burned.

    The table is forgotten last: a clear that dies half-way can not be followed by a run into another table. Where rows
    of files that stay known are in it, it is not forgotten: nobody would miss them if it were dropped.

    Raises NotFound.
    """
    with service.database.write() as connection:
        row_of(connection, ingestion_id)
        old = raise_generation(connection, ingestion_id)
        held.forget_drops(connection, ingestion_id)
    cleared = forget_files(service.database, ingestion_id, old)
    with service.database.write() as connection:
        forget_table(connection, ingestion_id, none_loaded(ingestion_id))
    return ClearedFiles(
        message=f"Cleared {cleared} processed file records", files_cleared=cleared, ingestion_id=ingestion_id
    )


def raise_generation(connection: Connection, ingestion_id: str) -> int:
    """From here on no older work is published, nor held for a word to publish it. The generation before."""
    lock_ingestion(connection, ingestion_id)
    held.take_back(connection, ingestion_id)
    raised = connection.execute(
        update(ingestions)
        .where(ingestions.c.id == ingestion_id)
        .values(generation=ingestions.c.generation + 1, updated_at=now())
        .returning(ingestions.c.generation)
    ).scalar_one()
    return int(raised) - 1


def forget_files(database: Database, ingestion_id: str, old: int, keep_table: str | None = None) -> int:
    """Forget the files of all generations up to `old`, but those that are in the table `keep_table`; how many.

    Files of a batch that is neither landed nor burned yet stay until the next run has settled it: whether their rows
    are in the table is not known before. So do those that a run begun meanwhile has loaded.
    """
    older = select(batches.c.id).where(
        batches.c.ingestion_id == ingestion_id,
        batches.c.generation <= old,
        batches.c.status.in_(ENDED),
    )
    if keep_table is not None:
        older = older.where(batches.c.table_uuid != keep_table)
    its = (
        processed_files.c.ingestion_id == ingestion_id,
        or_(processed_files.c.batch_id.is_(None), processed_files.c.batch_id.in_(older)),
    )
    # A path's older versions first: were a newer one gone and an older one left, it would be taken for a new path.
    return _delete(database, ingestion_id, *its, processed_files.c.current.is_(False)) + _delete(
        database, ingestion_id, *its
    )


def none_loaded(ingestion_id: str) -> ColumnElement[bool]:
    """Whether the ledger knows of no file whose rows are in the ingestion's table."""
    files = processed_files.c
    return ~exists().where(files.ingestion_id == ingestion_id, files.status == FileStatus.SUCCESS)


def forget_table(connection: Connection, ingestion_id: str, only: ColumnElement[bool]) -> None:
    """The ingestion has no table any more, if it is as `only` says; nor anything that needs repair."""
    lock_ingestion(connection, ingestion_id)
    this = ingestions.c.id == ingestion_id
    status = case((ingestions.c.status == "error", "active"), else_=ingestions.c.status)
    connection.execute(update(ingestions).where(this).values(status=status, status_reason=None))
    connection.execute(update(ingestions).where(this, only).values(table_uuid=None, last_snapshot_id=None))


def _delete(database: Database, ingestion_id: str, *which: ColumnElement[bool]) -> int:
    """Delete rows of an ingestion, a limited number in a transaction; how many."""
    deleted = 0
    while True:
        some = select(processed_files.c.id).where(*which).limit(ROWS_PER_TRANSACTION)
        with database.write() as connection:
            lock_ingestion(connection, ingestion_id)
            gone = connection.execute(delete(processed_files).where(processed_files.c.id.in_(some))).rowcount
        deleted += gone
        if gone < ROWS_PER_TRANSACTION:
            return deleted
