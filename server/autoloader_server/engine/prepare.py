"""Before a batch is claimed: its files are looked into, and the table is there with columns for what they hold."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update

from autoloader_server.db.tables import ingestions, schema_versions
from autoloader_server.engine import ledger
from autoloader_server.engine.errors import DATA_MALFORMED, SCHEMA_MISMATCH, RunStopped, TableChanged
from autoloader_server.engine.formats.base import Look
from autoloader_server.engine.iceberg import LEDGER_PROPERTY, TABLE_PROPERTY, TableState
from autoloader_server.engine.ledger import FileVersion
from autoloader_server.engine.load import check_table
from autoloader_server.engine.schema import NewField, new_fields, storable, without
from autoloader_server.engine.work import Work
from autoloader_server.spark.sessions import spark_errors

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

_APPEND = "append_new_columns"
_MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Ready:
    """A table that can be loaded into: its identity, and its snapshot at this moment."""

    table_id: str
    snapshot_id: int


def check_history(work: Work) -> TableState | None:
    """The table as it is, None where this ingestion has never had one.

    Raises TableChanged where it is not the table, or not the history, that the ingestion has loaded into.
    """
    with work.database.read() as connection:
        row = connection.execute(
            select(ingestions.c.table_uuid, ingestions.c.last_snapshot_id).where(
                ingestions.c.id == work.ingestion_id
            )
        ).one()
    with spark_errors():
        state = work.table.state()
        if row.table_uuid is not None:
            check_table(work, row.table_uuid, state)
        elif state is not None:
            check_table(work, None, state)
        if row.last_snapshot_id is None or state is None or state.snapshot_id == row.last_snapshot_id:
            return state
        line = work.table.ancestors()
    # A line that ends before its beginning was expired there: then the snapshot may have been expired too.
    complete = bool(line) and line[-1].parent_id is None
    if complete and all(snapshot.id != row.last_snapshot_id for snapshot in line):
        raise TableChanged(
            f"the table {work.table_name} was rolled back behind our back: snapshot {row.last_snapshot_id}, which this "
            "ingestion published last, is no longer in its history. Roll it forward again, or clear the ingestion's "
            "processed files to load everything anew."
        )
    return state


def given_schema(work: Work) -> StructType | None:
    """The columns that the ingestion prescribes, if it does."""
    from pyspark.sql.types import StructType

    wanted = work.spec.format.schema_
    if wanted is None or wanted.schema_json_ is None:
        return None
    return StructType.fromJson(wanted.schema_json_)


def make_table(work: Work, looks: Sequence[Look]) -> StructType:
    """Make the table from the schema that was given, or from what its first files hold; its data columns."""
    from pyspark.sql.types import StringType, StructField, StructType

    schema = given_schema(work)
    with spark_errors():
        if schema is None:
            work.step("inferring the schema")
            schema = work.format.infer(work.spark, looks)
        if not schema.fields:
            raise RunStopped(
                f"no column can be made out in the {len(looks)} files that wait, so there is no table to make: give "
                "format.schema with inference manual, or wait for files with values",
                DATA_MALFORMED,
            )
        taken = {field.name.casefold() for field in schema.fields}
        clash = [name for name in work.lineage if name.casefold() in taken]
        if clash:
            raise RunStopped(
                f"the files have a column {clash[0]!r}, which is also a lineage column: leave it out of "
                "destination.lineage_columns",
                SCHEMA_MISMATCH,
            )
        lineage = [StructField(name, StringType()) for name in work.lineage]
        full = storable(StructType([*schema.fields, *lineage]))
        work.table.create(full, _partitions(work, full), _identity(work))
        work.reach("table_made")
        work.table.append_nothing()
    return storable(schema)


def own_table(work: Work, state: TableState) -> Ready:
    """Write our identity into a table that has none, and give an empty one its first snapshot."""
    with spark_errors():
        if state.table_id is None or state.ledger_id is None:
            work.table.set_properties(
                _identity(work) if state.table_id is None else {LEDGER_PROPERTY: work.ledger_id}
            )
        if state.snapshot_id is None:
            work.table.append_nothing()
        if None in (state.table_id, state.ledger_id, state.snapshot_id):
            again = work.table.state()
            check_table(work, None, again)
            assert again is not None
            state = again
        missing = [name for name in work.lineage if name not in {field.name for field in work.schema.fields}]
        if missing:
            from pyspark.sql.types import StringType

            work.table.add_columns({(name,): StringType() for name in missing})
            work.table.append_nothing()
            work.schema_changed()
            refreshed = work.table.state()
            assert refreshed is not None
            state = refreshed
    assert state.table_id is not None
    assert state.snapshot_id is not None
    return Ready(state.table_id, state.snapshot_id)


def follow_schema(work: Work, ready: Ready, looks: Sequence[Look]) -> Ready:
    """Do what the ingestion's rule says about columns that the table does not have yet."""
    strange = [look for look in looks if look.unfamiliar]
    if not strange:
        return ready
    with spark_errors():
        seen = storable(work.format.infer(work.spark, strange))
        fresh = list(new_fields(without(work.schema, work.lineage), seen))
    if not fresh:
        return ready
    names = [column.name for column in fresh]
    if work.spec.effective_on_schema_change != _APPEND:
        shown = ", ".join(names[:_MOST_NAMED]) + (", …" if len(names) > _MOST_NAMED else "")
        work.note(f"{len(names)} columns were ignored, since on_schema_change is ignore: {shown}")
        return ready
    with spark_errors():
        work.table.add_columns({column.path: column.type for column in fresh})
        # A new branch has the schema of the newest snapshot (Iceberg 1.4): so there must be one with the new columns.
        work.table.append_nothing()
        work.schema_changed()
        state = work.table.state()
        _write_version(work, fresh, [look.path for look in strange if _has_any(look, fresh)])
    work.reach("columns_added")
    work.note(f"{len(names)} columns were added to the table: {', '.join(names[:_MOST_NAMED])}")
    assert state is not None
    assert state.snapshot_id is not None
    return Ready(ready.table_id, state.snapshot_id)


def look_into(work: Work, files: Sequence[FileVersion], known: StructType | None) -> list[Look]:
    """What the worker sees in these files; those that cannot be loaded fail here, before anything is claimed."""
    work.step("looking into the files")
    looks = work.format.look([(file.path, file.size) for file in files], known)
    if looks.failures:
        with work.database.write() as connection:
            ledger.fail_files(connection, work.run_id, work.ingestion_id, looks.failures)
    return looks.good


def drop_misfits(work: Work, looks: Sequence[Look]) -> list[Look]:
    """Fail the files whose columns cannot go into the table's; the others."""
    with spark_errors():
        failures = work.format.misfits(work.spark, looks, without(work.schema, work.lineage))
    if failures:
        with work.database.write() as connection:
            ledger.fail_files(connection, work.run_id, work.ingestion_id, failures)
    bad = {failure.path for failure in failures}
    return [look for look in looks if look.path not in bad]


def _identity(work: Work) -> dict[str, str]:
    return {LEDGER_PROPERTY: work.ledger_id, TABLE_PROPERTY: str(uuid.uuid4())}


def _partitions(work: Work, schema: StructType) -> list[str]:
    partitioning = work.spec.destination.partitioning
    if partitioning is None or not partitioning.enabled:
        return []
    have = {field.name.casefold(): field.name for field in schema.fields}
    missing = [name for name in partitioning.columns if name.casefold() not in have]
    if missing:
        raise RunStopped(
            f"destination.partitioning.columns: there is no column {missing[0]!r} in the data; it has "
            + ", ".join(repr(field.name) for field in schema.fields[:_MOST_NAMED]),
            SCHEMA_MISMATCH,
        )
    return [have[name.casefold()] for name in partitioning.columns]


def _has_any(look: Look, fresh: Sequence[NewField]) -> bool:
    have = {name.casefold() for name in look.columns}
    return not have or any(column.path[0].casefold() in have for column in fresh)


def _write_version(work: Work, fresh: Sequence[NewField], files: list[str]) -> None:
    changes: list[dict[str, Any]] = [
        {
            "change_type": "NEW_COLUMN",
            "column_name": column.name,
            "old_type": None,
            "new_type": column.type.simpleString(),
        }
        for column in fresh
    ]
    with work.database.write() as connection:
        last = connection.execute(
            select(func.max(schema_versions.c.version)).where(
                schema_versions.c.ingestion_id == work.ingestion_id
            )
        ).scalar()
        version = (last or 1) + 1
        connection.execute(
            insert(schema_versions).values(
                ingestion_id=work.ingestion_id,
                version=version,
                detected_at=ledger.now(),
                schema_json=work.schema.jsonValue(),
                changes_json=changes,
                strategy_applied=_APPEND,
                affected_files=files,
            )
        )
        connection.execute(
            update(ingestions).where(ingestions.c.id == work.ingestion_id).values(schema_version=version)
        )
