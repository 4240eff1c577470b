"""The quarantine table: where the bad records of a batch go, under the same batch id as its good ones.

It is published before the target is. Where a batch is burned, so is its id here, and then its records are deleted: both
can be repeated, and nothing of the batch can appear here afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from autoloader_server.db.clock import now
from autoloader_server.engine.errors import RunStopped, TableChanged
from autoloader_server.engine.formats.base import Look
from autoloader_server.engine.iceberg import DuplicatePublish, Snapshot, Table, TableState, new_identity
from autoloader_server.engine.sql import TableName

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

SUFFIX = "__quarantine"
_BATCH = "batch_id"


def quarantine_name(table: TableName) -> TableName:
    """The table beside `table` in which its bad records are."""
    return replace(table, table=table.table + SUFFIX)


def quarantine_columns() -> StructType:
    from pyspark.sql import types as T

    return T.StructType(
        [
            T.StructField("path", T.StringType()),
            T.StructField("line", T.LongType()),
            T.StructField("record", T.StringType()),
            T.StructField("reason", T.StringType()),
            T.StructField(_BATCH, T.StringType()),
            T.StructField("run_id", T.StringType()),
            T.StructField("ingestion_id", T.StringType()),
            T.StructField("quarantined_at", T.TimestampType()),
        ]
    )


class Quarantine:
    """The quarantine table of a target; `table` is asked for what loads have in common."""

    def __init__(self, table: Table, ledger_id: str) -> None:
        self.table = table
        self._ledger_id = ledger_id

    def prepare(self) -> None:
        """Make the table where it is not there. Raises TableChanged where it is not ours."""
        if self.table.state() is None:
            properties = {
                **new_identity(self._ledger_id),
                # What another ingestion appends meanwhile is no reason not to delete a burned batch's records.
                "write.delete.isolation-level": "snapshot",
            }
            self.table.create(quarantine_columns(), [], properties)
        state = self.ours()
        if state is None:
            raise TableChanged(
                f"{self.table.name} is no quarantine table of this autoloader database: give it another name, or drop "
                "it, then run again."
            )
        if state.snapshot_id is None:
            self.table.append_nothing()

    def ours(self) -> TableState | None:
        """The table as it is, if it is a quarantine table of this ledger's, whatever columns somebody added to it."""
        state = self.table.state()
        wanted = [(field.name, field.dataType) for field in quarantine_columns().fields]
        if state is None or state.ledger_id != self._ledger_id:
            return None
        have = [(field.name, field.dataType) for field in self.table.schema().fields[: len(wanted)]]
        return state if have == wanted else None

    def drop(self) -> None:
        """Drop the table, if there is one and it is ours."""
        if self.ours() is not None:
            self.table.drop()

    def stage(self, branch: str, batch_id: str, looks: Sequence[Look], run_id: str, ingestion_id: str) -> Snapshot:
        """Write the bad records of a batch to a branch of its own."""
        from pyspark.sql.connect import functions as F

        moment = now()
        # In the order of the columns.
        rows = [
            (look.path, record.line, record.text, record.reason, batch_id, run_id, ingestion_id, moment)
            for look in looks
            for record in look.bad
        ]
        added = self.table.schema().fields[len(quarantine_columns().fields) :]
        frame = self.table.spark.createDataFrame(rows, quarantine_columns())
        # What somebody added to the table is for that person to fill.
        frame = frame.select("*", *[F.lit(None).cast(field.dataType).alias(field.name) for field in added])
        self.table.create_branch(branch)
        self.table.append(frame, branch, batch_id)
        staged = self.table.staged(branch)
        if staged.records != len(rows):
            raise RunStopped(f"{len(rows)} bad records were to be set aside, {staged.records} were written; run again")
        return staged

    def holds(self, snapshot_id: int, batch_id: str) -> bool:
        """Whether what was staged under this id is still there."""
        if self.table.state() is None:
            return False
        found = self.table.snapshots().get(snapshot_id)
        return found is not None and found.wap_id == batch_id

    def publish(self, snapshot_id: int, batch_id: str) -> bool:
        """Put the staged records into the table, if they are not there. False where the batch was burned meanwhile."""
        # A worker that died may have done it so long ago that the snapshot has expired, which else would tell.
        if self.table.rows_of(_BATCH, [batch_id]):
            return True
        try:
            self.table.publish(snapshot_id)
        except DuplicatePublish:
            found = self.table.published(batch_id)
            return found is not None and found.data_files > 0
        return True

    def burn(self, branch: str, batch_id: str) -> None:
        """Make sure that no record of this batch is in the table, and that none can come."""
        state = self.ours()
        # Another table is none that we have written to.
        if state is None:
            return
        if state.snapshot_id is None:
            self.table.append_nothing()
        self.table.create_branch(branch)
        self.table.append_nothing(branch, batch_id)
        with suppress(DuplicatePublish):  # its records are there, or it was burned before
            self.table.publish(self.table.staged(branch).id)
        self.table.delete_where(_BATCH, batch_id)
