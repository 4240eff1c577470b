"""Before a batch is claimed: its files are looked into, and the table is there with columns for what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import select

from autoloader_sdk.models import IngestionCreate
from autoloader_server.db.tables import ingestions, run_errors
from autoloader_server.engine.check import look_into
from autoloader_server.engine.culprits import culprits, infer, misfits
from autoloader_server.engine.errors import (
    DATA_MALFORMED,
    SCHEMA_MISMATCH,
    FileFailure,
    RunStopped,
)
from autoloader_server.engine.evolve import count_version, mismatch, new_columns, wanted, widened_for
from autoloader_server.engine.formats.base import Look, Looks
from autoloader_server.engine.iceberg import LEDGER_PROPERTY, TableState, lineage, new_identity
from autoloader_server.engine.ledger import FileVersion
from autoloader_server.engine.load import check_table, rolled_back
from autoloader_server.engine.schema import storable, without
from autoloader_server.engine.sift import refuse
from autoloader_server.engine.values import spare
from autoloader_server.engine.work import Ready, Work
from autoloader_server.spark.sessions import spark_errors

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

_MOST_NAMED = 20


def check_history(work: Work) -> TableState | None:
    """The table as it is, None where this ingestion has never had one.

    Raises TableChanged where it is not the table, or not the history, that the ingestion has loaded into.
    """
    with work.database.read() as connection:
        row = connection.execute(
            select(ingestions.c.table_uuid, ingestions.c.last_snapshot_id).where(ingestions.c.id == work.ingestion_id)
        ).one()
    with spark_errors():
        state = work.table.state()
        if row.table_uuid is not None or state is not None:
            check_table(work, row.table_uuid, state)
        if row.last_snapshot_id is None or state is None or state.snapshot_id == row.last_snapshot_id:
            return state
        undone = rolled_back(work, lineage(work.table.snapshots(), state.snapshot_id))
    if undone is not None:
        raise undone
    return state


def given_schema(spec: IngestionCreate) -> StructType | None:
    """The columns that the ingestion prescribes, if it does."""
    from pyspark.sql.types import StructType

    wanted = spec.format.schema_
    if wanted is None or wanted.schema_json_ is None:
        return None
    return StructType.fromJson(wanted.schema_json_)


def make_table(work: Work, looks: Sequence[Look]) -> StructType | None:
    """Make the table from the schema that was given, or from what its first files hold; its data columns.

    None where files that cannot be loaded were written down, and the others hold no column.
    """
    from pyspark.sql.types import StringType, StructField, StructType

    schema = given_schema(work.spec)
    if schema is None:
        work.step("inferring the schema")
        schema = _infer(work, looks)
        if not schema.fields:
            bad = Looks.of(work.format.look([(look.path, look.size) for look in looks], schema)).failures
            if bad:
                work.fail(bad)
                return None
    with spark_errors():
        if not schema.fields:
            raise RunStopped(
                f"no column can be made out in the {len(looks)} files that are to be loaded, so there is no table to "
                "make: give format.schema with inference manual, or wait for files with values",
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
        ours = [StructField(name, StringType()) for name in work.lineage]
        full = storable(StructType([*schema.fields, *ours]))
        work.table.create(full, _partitions(work, full), new_identity(work.ledger_id))
        work.reach("table_made")
        work.table.append_nothing()
    return storable(schema)


def own_table(work: Work, state: TableState) -> Ready:
    """Write our identity into a table that has none, and give an empty one its first snapshot."""
    with spark_errors():
        if state.table_id is None or state.ledger_id is None:
            work.table.set_properties(
                new_identity(work.ledger_id) if state.table_id is None else {LEDGER_PROPERTY: work.ledger_id}
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
    # A worker may have died after it added columns, and before it wrote that down.
    return count_version(work, Ready(state.table_id, state.snapshot_id))


def look_first(work: Work, files: Sequence[FileVersion], known: StructType | None) -> list[Look]:
    """What the worker sees in these files; those that cannot be loaded fail here, before anything is claimed."""
    work.step("looking into the files")
    looks = look_into(work, files, known)
    work.fail(looks.failures)
    ids = {file.path: file.id for file in files}
    return [
        replace(look, refused=work.refused.get(ids[look.path]) or look.refused, exact=ids[look.path] in work.exact)
        for look in looks.good
    ]


def drop_misfits(work: Work, looks: Sequence[Look]) -> list[Look]:
    """Fail the files whose columns cannot go into the table's; the others, as they look beside its columns."""
    with spark_errors():
        data = without(work.schema, work.lineage)
    again = [(look.path, look.size) for look in looks if not look.checked]
    if again:
        # They were looked into before there was a table. Those that could not be inferred from have failed by now.
        with work.database.read() as connection:
            errors = select(run_errors.c.file).where(run_errors.c.run_id == work.run_id)
            known_bad = set(connection.execute(errors).scalars())
        again = [file for file in again if file[0] not in known_bad]
        seen = Looks.of(work.format.look(again, data))
        work.fail(seen.failures)
        looks = [*(look for look in looks if look.checked), *seen.good]
    clash = {name.casefold() for name in work.lineage}
    failures = [
        _clash(look, name)
        for look in looks
        if (name := next((name for name in look.new_columns(()) if name.casefold() in clash), None)) is not None
    ]
    failures += _called_like_ours(work, [look for look in looks if not look.seen], clash)
    bad = {failure.path for failure in failures}
    looks = [look for look in looks if look.path not in bad]
    wrong, data = _misfits(work, looks, data)
    failures += wrong
    suspects = [look for look in looks if look.suspect and look.path not in {failure.path for failure in failures}]
    if suspects:
        failures += spare(work, suspects, culprits(work.spark, work.format, suspects, data), data)
    looks, failures = refuse(work, looks, failures)
    work.fail(failures)
    bad = {failure.path for failure in failures}
    return [look for look in looks if look.path not in bad]


def _clash(look: Look, name: str) -> FileFailure:
    return FileFailure(look.path, SCHEMA_MISMATCH, f"its column {name!r} is called like a lineage column")


def _called_like_ours(work: Work, looks: Sequence[Look], clash: set[str]) -> list[FileFailure]:
    """The same of files whose columns Spark alone can tell."""
    if not looks:
        return []
    schema, _ = infer(work.spark, work.format, looks)
    name = next((field.name for field in schema.fields if field.name.casefold() in clash), None)
    if name is None:
        return []
    if len(looks) == 1:
        return [_clash(looks[0], name)]
    half = len(looks) // 2
    return _called_like_ours(work, looks[:half], clash) + _called_like_ours(work, looks[half:], clash)


def _misfits(work: Work, looks: Sequence[Look], data: StructType) -> tuple[list[FileFailure], StructType]:
    """The files whose columns are of other types than the table's, and the columns as wide as the others ask for.

    Raises RunStopped where the ingestion is to fail for them.
    """
    wide = widened_for(work, data, looks)
    wrong = misfits(work.spark, work.format, looks, wide)
    if work.spec.effective_on_schema_change == "fail":
        _, standing = refuse(work, looks, wrong)
        if any(one.category == SCHEMA_MISMATCH for one in standing):
            changes = [*new_columns(work, looks, data)[0], *wanted(work, data, looks)]
            raise mismatch(work, changes, [one for one in standing if one.category == SCHEMA_MISMATCH])
    return wrong, wide


def _infer(work: Work, looks: Sequence[Look]) -> StructType:
    """The columns of these files. One that Spark cannot read fails, and is then no longer there to be claimed."""
    schema, failures = infer(work.spark, work.format, looks)
    work.fail(failures)
    return schema


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
