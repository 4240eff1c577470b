"""Some files of a source as a load would see them: read by Spark with the engine's own rules, and nothing written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from autoloader_sdk.discovery.entries import Entry
from autoloader_sdk.models import IngestionCreate
from autoloader_server.engine.culprits import culprits, infer, misfits
from autoloader_server.engine.errors import FileFailure
from autoloader_server.engine.explain import about_files, run_error
from autoloader_server.engine.formats.base import SAMPLE_FILES, Look, Looks, by_name, may_be_right, spread
from autoloader_server.engine.iceberg import Table
from autoloader_server.engine.place import Place
from autoloader_server.engine.prepare import given_schema
from autoloader_server.engine.read import frame_of, make_format, own_columns
from autoloader_server.engine.required import demands
from autoloader_server.engine.schema import new_fields, storable, without
from autoloader_server.engine.sql import TableName, identifier
from autoloader_server.spark.sessions import spark_errors

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import StructType

    from autoloader_server.engine.formats.base import Format

SHOWN_ROWS = 10
# Beyond its first file a sample has no more than this.
SAMPLE_BYTES = 64 * 2**20


class Sample:
    """Files spread evenly over a listing of any length; a few times `SAMPLE_FILES` are kept meanwhile."""

    def __init__(self) -> None:
        self._kept: list[tuple[str, int]] = []
        self._every = 1
        self._seen = 0

    def take(self, entry: Entry) -> None:
        if self._seen % self._every == 0:
            self._kept.append((entry.path, entry.size))
            if len(self._kept) == 4 * SAMPLE_FILES:
                self._kept = self._kept[::2]
                self._every *= 2
        self._seen += 1

    def files(self) -> list[tuple[str, int]]:
        """Paths and sizes."""
        chosen: list[tuple[str, int]] = []
        total = 0
        for path, size in spread(self._kept):
            total += size
            if not chosen or total <= SAMPLE_BYTES:
                chosen.append((path, size))
        return chosen


@dataclass(slots=True)
class Preview:
    """What was seen in sampled files. `new`: columns that the table lacks, if there is one; nested ones as `a.b`.

    `rows` are the first as JSON; `records` and `bytes` count all that could be read. `failures` would fail in a load.
    """

    schema: StructType
    new: list[str]
    rows: list[str] = field(default_factory=list)
    records: int = 0
    bytes: int = 0
    failures: list[FileFailure] = field(default_factory=list)


def preview(spark: SparkSession, spec: IngestionCreate, place: Place, files: Sequence[tuple[str, int]]) -> Preview:
    """Read these files. Raises RunStopped or SparkUnavailable where Spark is at fault."""
    # What of a file is bad is told, whatever is done about it.
    fmt = make_format(spec.model_copy(update={"on_bad_record": "fail"}), place)
    table = Table(spark, TableName.of(spec.destination))
    try:
        with spark_errors():
            there = without(table.schema(), own_columns(spec)) if table.state() is not None else None
    except Exception as error:
        raise run_error(error, spark) from error
    prescribed = given_schema(spec)
    looks = Looks.of(fmt.look(files, prescribed if there is None else there))
    schema, failures = (prescribed, []) if prescribed is not None else infer(spark, fmt, looks.good)
    schema = storable(schema)
    seen = Preview(schema, [column.name for column in new_fields(there, schema)] if there is not None else [])
    bad = _fail(seen, [*looks.failures, *failures])
    if there is not None:
        bad = _fail(seen, misfits(spark, fmt, [look for look in looks.good if look.path not in bad], there))
    beside = Looks.of(fmt.look([(look.path, look.size) for look in looks.good if look.path not in bad], schema))
    bad = _fail(seen, beside.failures)
    bad = _fail(seen, misfits(spark, fmt, [look for look in beside.good if look.path not in bad], schema))
    rest = [look for look in beside.good if look.path not in bad]
    bad = _fail(seen, _refused(spark, fmt, rest, _as_the_table_asks(schema, there)))
    _read(spark, fmt, seen, [look for look in beside.good if look.path not in bad])
    return seen


def _as_the_table_asks(schema: StructType, there: StructType | None) -> StructType:
    """The files' columns, with those of the table's that may not be null; of fields within them nothing is asked."""
    from pyspark.sql.types import StructField, StructType

    if there is None:
        return schema
    have, asked = by_name(schema), by_name(there)
    fields = [
        StructField(
            field.name, field.dataType, asked[name].nullable if (name := field.name.casefold()) in asked else True
        )
        for field in schema.fields
    ]
    return StructType([*fields, *(field for name, field in asked.items() if not field.nullable and name not in have)])


def _refused(spark: SparkSession, fmt: Format, looks: Sequence[Look], data: StructType) -> list[FileFailure]:
    """Where some column may not be null: the files that Spark would refuse."""
    from pyspark.sql.connect import functions as F

    if not looks or not demands(data, lambda name: F.col(identifier(name))):
        return []
    return culprits(spark, fmt, looks, data)


def _fail(seen: Preview, failures: Sequence[FileFailure]) -> set[str]:
    """Keep the failures, one a file; the paths of all so far."""
    known = {failure.path for failure in seen.failures}
    for failure in failures:
        if failure.path not in known:
            known.add(failure.path)
            seen.failures.append(failure)
    return known


def _read(spark: SparkSession, fmt: Format, seen: Preview, looks: list[Look]) -> None:
    """Count and show the rows; files that only a read shows to be bad are left out."""
    from pyspark.sql.connect import functions as F

    if not looks or not by_name(seen.schema):
        return
    try:
        with spark_errors():
            frame = frame_of(spark, fmt, looks, seen.schema, [])
            row = F.to_json(
                F.struct(*[F.col(identifier(name)) for name in frame.columns]), {"ignoreNullFields": "false"}
            )
            shown = frame.limit(SHOWN_ROWS).select(row.alias("row")).collect()
            # Over the rows' texts: a count of rows alone would parse none of them.
            records = frame.select(F.length(row).alias("n")).agg(F.count("n")).collect()[0][0]
    except Exception as error:
        if not about_files(error):
            raise run_error(error, spark) from error
        bad = _fail(seen, culprits(spark, fmt, looks, seen.schema))
        rest = [look for look in looks if look.path not in bad]
        if len(rest) == len(looks):
            again = [replace(look, exact=look.exact or may_be_right(fmt, look)) for look in looks]
            if again == looks:
                raise run_error(error, spark) from error
            rest = again
        _read(spark, fmt, seen, rest)
        return
    seen.rows = [each["row"] for each in shown]
    seen.records = int(records)
    seen.bytes = sum(look.size for look in looks)
