"""The quality rules, judged on what is staged: a batch is published, published with a warning, or held."""

from __future__ import annotations

from autoloader_sdk.models import IngestionCreate
from autoloader_server.db.locks import lock_ingestion
from autoloader_server.engine import batch_record, held, killpoints, run_record
from autoloader_server.engine.batch_record import Batch, BatchStatus, Verdict
from autoloader_server.engine.iceberg import Snapshot
from autoloader_server.engine.work import Work


def too_few(spec: IngestionCreate, records: int) -> str | None:
    """What is wrong with a batch of so many rows, by the ingestion's rule; None where nothing is."""
    least = spec.quality.row_count_threshold if spec.quality is not None else None
    if least is None or records >= least:
        return None
    rows = "1 row" if records == 1 else f"{records} rows"
    return f"a batch of {rows}, fewer than quality.row_count_threshold ({least})"


def judge(work: Work, batch: Batch, staged: Snapshot) -> bool:
    """Whether the staged batch may be published; what it has too few rows for may be held instead.

    The verdict is written down under the lease, and holds for whoever settles the batch. Raises GenerationChanged,
    LeaseLost.
    """
    complaint = too_few(work.spec, staged.records) if batch.verdict is None else None
    quality = work.spec.quality
    holds = complaint is not None and quality is not None and quality.on_low_row_count == "hold"
    with work.database.write() as connection:
        lock_ingestion(connection, work.ingestion_id)
        batch_record.check_generation(connection, work.ingestion_id, batch.generation)
        if complaint is not None and holds:
            held.hold(connection, work.lease, batch.id, work.run_id, complaint, staged.records)
        else:
            verdict = batch.verdict or Verdict.PASSED
            work.lease.hold_batch(connection, batch.id, (BatchStatus.OPEN,), verdict=verdict)
            if complaint is not None:
                run_record.note(connection, work.run_id, f"loaded all the same: {complaint}")
    if holds:
        # Not `work.reach`: what is held is not burned by a cancellation any more.
        killpoints.reach("held", work.home)
    return not holds
