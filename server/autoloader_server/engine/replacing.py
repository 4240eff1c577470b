"""Changed files whose rows take the place of those of their earlier versions.

Such a batch is one MERGE on its branch, and is published by moving main to that very snapshot, which Iceberg does only
where main is still what the MERGE stood on. It carries no batch id: that its staged snapshot, which the ledger names
before it is published, is one of main's tells that it landed. Done once more it changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from autoloader_server.engine import ledger
from autoloader_server.engine.iceberg import Snapshot, TableState
from autoloader_server.engine.ledger import FileVersion
from autoloader_server.engine.read import SOURCE_FILE
from autoloader_server.engine.work import Work

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def stage(work: Work, branch: str, frame: DataFrame, files: Sequence[FileVersion]) -> None:
    """Write a batch's rows to its branch, without the rows of other versions of its files."""
    work.table.replace(frame, branch, SOURCE_FILE, [file.path for file in files])


def staged(work: Work, branch: str, files: Sequence[FileVersion]) -> Snapshot:
    """What was written to the branch; its records are those of the batch's files."""
    return _of_these(work, work.table.head(branch), files)


def publishable(work: Work, batch_id: str, snapshot: Snapshot, files: Sequence[FileVersion]) -> Snapshot | None:
    """A staged snapshot, if main is still what it stands on and its branch is there."""
    if not stands_on(work.table.state(), snapshot) or work.table.branch_at(snapshot.id, batch_id) is None:
        return None
    return _of_these(work, snapshot, files)


def stands_on(state: TableState | None, snapshot: Snapshot) -> bool:
    """Whether main, in this state of the table, is still what a staged snapshot stands on, or has come to it.

    Iceberg would also move main forward over what somebody has rolled back.
    """
    return state is not None and state.snapshot_id in (snapshot.id, snapshot.parent_id)


def publish(work: Work, batch_id: str, snapshot: Snapshot) -> bool:
    """Bring main to the staged snapshot; False where somebody else's commit came between."""
    branch = work.table.branch_at(snapshot.id, batch_id)
    return branch is not None and stands_on(work.table.state(), snapshot) and work.table.fast_forward(branch)


def landed(work: Work, batch_id: str, snapshot_id: int | None, line: Sequence[Snapshot]) -> Snapshot | None:
    """A batch's staged snapshot, if it is in `line`, main's history."""
    found = next((each for each in line if each.id == snapshot_id), None)
    if found is None:
        return None
    with work.database.read() as connection:
        files = ledger.files_of(connection, batch_id)
    return _of_these(work, found, files)


def _of_these(work: Work, snapshot: Snapshot, files: Sequence[FileVersion]) -> Snapshot:
    rows = work.table.rows_of(SOURCE_FILE, [file.path for file in files], snapshot.id)
    return replace(snapshot, records=sum(rows.values()))
