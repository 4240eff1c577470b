"""Claim: one transaction stores a batch, takes its files, and notes the table as it is."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select, update

from autoloader_server.db.tables import ingestions, processed_files
from autoloader_server.engine import ledger
from autoloader_server.engine.formats.base import Look
from autoloader_server.engine.ledger import Batch, FileVersion
from autoloader_server.engine.prepare import Ready
from autoloader_server.engine.work import Work

_AT_ONCE = 5_000


def claim_batch(
    work: Work, ready: Ready, files: Sequence[FileVersion], looks: Sequence[Look]
) -> tuple[Batch | None, list[FileVersion]]:
    """A batch of the files that were looked into and still wait; None where another worker took them all.

    Raises GenerationChanged where the ingestion was cleared or deleted since the run began, LeaseLost where the run
    was ended.
    """
    readable = {look.path for look in looks}
    wanted = [file for file in files if file.path in readable]
    with work.database.write() as connection:
        work.lease.hold_run(connection)
        ledger.check_generation(connection, work.ingestion_id, work.generation)
        elsewhere = _elsewhere(connection, work, wanted)
        batch_id, taken = ledger.claim(
            connection,
            work.lease,
            [file for file in wanted if file.path not in elsewhere],
            ingestion_id=work.ingestion_id,
            run_id=work.run_id,
            generation=work.generation,
            table_name=work.table_name.quoted,
            table_uuid=ready.table_id,
            base_snapshot_id=ready.snapshot_id,
        )
        if not taken:
            return None, []
        connection.execute(
            update(ingestions).where(ingestions.c.id == work.ingestion_id).values(table_uuid=ready.table_id)
        )
        return ledger.batch(connection, batch_id), taken


def _elsewhere(connection: Connection, work: Work, files: Sequence[FileVersion]) -> set[str]:
    """Paths that another ingestion into the same table has claimed first: here they are SKIPPED."""
    others = {
        row.id: row.name
        for row in connection.execute(
            select(ingestions.c.id, ingestions.c.name, ingestions.c.spec).where(
                ingestions.c.id != work.ingestion_id
            )
        )
        if row.spec.get("destination", {}) and _same_table(row.spec["destination"], work)
    }
    if not others:
        return set()
    found: set[str] = set()
    columns = processed_files.c
    for start in range(0, len(files), _AT_ONCE):
        part = {file.path: file.id for file in files[start : start + _AT_ONCE]}
        rows = connection.execute(
            select(columns.path, columns.ingestion_id).where(
                columns.ingestion_id.in_(others),
                columns.path.in_(part),
                columns.status.in_((ledger.SUCCESS, ledger.PROCESSING)),
            )
        )
        for path, ingestion_id in rows:
            if path in found:
                continue
            found.add(path)
            connection.execute(
                update(processed_files)
                .where(columns.id == part[path])
                .values(
                    status=ledger.SKIPPED,
                    reason=f"the ingestion {others[ingestion_id]!r} ({ingestion_id}) loads it into the same table",
                )
            )
    return found


def _same_table(destination: dict[str, object], work: Work) -> bool:
    name = work.table_name
    parts = (destination.get("catalog"), destination.get("database"), destination.get("table"))
    return tuple(str(part).casefold() for part in parts) == tuple(
        part.casefold() for part in (name.catalog, name.database, name.table)
    )
