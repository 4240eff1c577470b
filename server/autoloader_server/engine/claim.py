"""Claim: one transaction stores a batch, takes its files, and notes the table as it is."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import Connection, update

from autoloader_sdk.models import FileStatus
from autoloader_server.db.locks import only_one
from autoloader_server.db.tables import ingestions, processed_files
from autoloader_server.engine import batch_record, ledger, run_record
from autoloader_server.engine.batch_record import Batch
from autoloader_server.engine.formats.base import Look
from autoloader_server.engine.ledger import FileVersion
from autoloader_server.engine.run_log import say
from autoloader_server.engine.work import Ready, Work


def claim_batch(
    work: Work, ready: Ready, files: Sequence[FileVersion], looks: Sequence[Look], *, replaces: bool
) -> tuple[Batch | None, list[FileVersion]]:
    """A batch of the files that were looked into and still wait; None where another worker took them all.

    `replaces`: of all of them other rows may be in the table, in whose place theirs are put.

    Raises GenerationChanged where the ingestion was cleared or deleted since the run began, LeaseLost where the run
    was ended.
    """
    readable = {look.path for look in looks}
    wanted = [file for file in files if file.path in readable]
    with work.database.write() as connection:
        work.lease.hold_run(connection)
        batch_record.check_generation(connection, work.ingestion_id, work.generation)
        # Two ingestions that claim for one table: the second one sees what the first has claimed.
        only_one(connection, f"claim for table {ready.table_id}")
        elsewhere = _elsewhere(connection, work, ready.table_id, wanted)
        batch_id = uuid.uuid4().hex
        here = [file for file in wanted if file.path not in elsewhere]
        taken = ledger.take(connection, here, batch_id, work.run_id)
        # Also where all of them were skipped: their rows count for this very table.
        connection.execute(
            update(ingestions).where(ingestions.c.id == work.ingestion_id).values(table_uuid=ready.table_id)
        )
        if not taken:
            return None, []
        batch = batch_record.store(
            connection,
            work.lease,
            batch_id,
            taken,
            ingestion_id=work.ingestion_id,
            run_id=work.run_id,
            generation=work.generation,
            table_name=work.table_name.quoted,
            table_uuid=ready.table_id,
            base_snapshot_id=ready.snapshot_id,
            replaces=replaces,
        )
        say(
            connection,
            work.run_id,
            f"batch {batch_id}: {len(taken):,} files, {sum(file.size for file in taken):,} bytes",
        )
    return batch, taken


def _elsewhere(connection: Connection, work: Work, table_id: str, files: Sequence[FileVersion]) -> set[str]:
    """Paths that another ingestion brings into this very table.

    Where their rows are there, the files are SKIPPED here. Where they are only being loaded, or held, they wait: that
    may fail.
    """
    ids = {file.path: file.id for file in files}
    loaded, loading = ledger.elsewhere(connection, work.ingestion_id, table_id, list(ids))
    for path, why in loaded.items():
        connection.execute(
            update(processed_files)
            .where(processed_files.c.id == ids[path])
            .values(status=FileStatus.SKIPPED, reason=why)
        )
    work.left_to_others.update(ids[path] for path in loading)
    for known, what in ((loaded, "were skipped"), (loading, "wait")):
        if known:
            path, why = next(iter(known.items()))
            run_record.note(connection, work.run_id, f"{len(known)} files {what}, such as {path!r}: {why}")
    return {*loaded, *loading}
