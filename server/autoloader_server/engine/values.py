"""Values too wide for their column: which files would fit into wider columns, and into how wide ones.

A type shows in a Parquet footer and a number when strict JSON is scanned. In CSV, and in JSON that only Spark can read,
it shows when Spark refuses the file: then the file is read once more into the widest columns that Iceberg can make.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from autoloader_server.engine.changes import Change
from autoloader_server.engine.culprits import culprits, everything
from autoloader_server.engine.errors import DATA_MALFORMED, FileFailure
from autoloader_server.engine.explain import about_files, run_error
from autoloader_server.engine.formats.base import CORRUPT_COLUMN, PATH_COLUMN, Format, Look, Looks, Sifting
from autoloader_server.engine.formats.csv_values import BEYOND_FLOAT
from autoloader_server.engine.read import plain_path
from autoloader_server.engine.schema import widens
from autoloader_server.engine.sql import identifier
from autoloader_server.engine.work import Work
from autoloader_server.spark.sessions import spark_errors

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import DataType, StructField, StructType

_MOST_DIGITS = 38


def spare(work: Work, looks: Sequence[Look], failures: list[FileFailure], data: StructType) -> list[FileFailure]:
    """The failures without those of files that fit once columns are widened; what they need is noted in `work.wider`.

    All of them where the ingestion does not follow its files.
    """
    bad = {failure.path for failure in failures if failure.category == DATA_MALFORMED}
    if not (work.follows and bad):
        return failures
    found, worse = needed(work.spark, work.format, [look for look in looks if look.path in bad], data)
    for path, changes in found.items():
        work.wider.setdefault(path, []).extend(changes)
    # Of a file with several wrong values the one that no column can become wide enough for.
    told = {failure.path: failure for failure in worse}
    return [told.get(failure.path, failure) for failure in failures if failure.path not in found]


def needed(
    spark: SparkSession, fmt: Format, looks: Sequence[Look], data: StructType
) -> tuple[dict[str, list[Change]], list[FileFailure]]:
    """By file, the types that its values need, where wider columns hold them; and the files that fit into none.

    Of the columns themselves, not of fields within. Raises SparkUnavailable or RunStopped where Spark is the fault.
    """
    fields, widest = _as_wide_as_can_be(data)
    if not fields:
        return {}, []
    failures = culprits(spark, fmt, looks, widest)
    bad = {failure.path for failure in failures}
    good = [look for look in looks if look.path not in bad]
    found: dict[str, list[Change]] = {}
    try:
        with spark_errors():
            for members in Looks(good).groups().values():
                if isinstance(fmt, Sifting) and fmt.reads_hastily:
                    found |= needed_by_good(spark, fmt, members, data)
                else:
                    found |= _bounds(fmt.read(spark, members, widest), fields)
    except Exception as error:
        # It was changed this very moment: then it keeps the failure that it has.
        if not about_files(error):
            raise run_error(error, spark) from error
    return found, failures


def needed_by_good(
    spark: SparkSession, fmt: Sifting, looks: Sequence[Look], data: StructType
) -> Iterator[tuple[str, list[Change]]]:
    """The same of the good records of files, read record by record; an exception where a file cannot be read."""
    from pyspark.sql.connect import functions as F

    fields, widest = _as_wide_as_can_be(data)
    for members in Looks(list(looks) if fields else []).groups().values():
        frame = fmt.sifted(spark, members, widest, all_known=False)
        # Whether a record is bad shows only where all columns are asked for.
        yield from _bounds(frame, fields, F.col(CORRUPT_COLUMN).isNull(), F.max(everything(widest)))


def _as_wide_as_can_be(data: StructType) -> tuple[list[StructField], StructType]:
    """The columns that Iceberg can widen, and all of them with these as wide as they can become."""
    from pyspark.sql.types import StructField, StructType

    wide = {field.name: kind for field in data.fields if (kind := _widest(field.dataType)) is not None}
    widest = [StructField(field.name, wide.get(field.name, field.dataType), field.nullable) for field in data.fields]
    return [field for field in data.fields if field.name in wide], StructType(widest)


def _bounds(
    frame: DataFrame, fields: Sequence[StructField], good: Column | None = None, *more: Column
) -> Iterator[tuple[str, list[Change]]]:
    """What the columns need by file, for its `good` records if that is said."""
    from pyspark.sql.connect import functions as F

    named = [_finite(F.col(identifier(field.name)), field.dataType) for field in fields]
    columns = named if good is None else [F.when(good, column) for column in named]
    ends = [end for column in columns for end in (F.min(column), F.max(column))]
    for row in frame.groupBy(PATH_COLUMN).agg(*ends, *more).collect():
        changes = []
        for at, field in enumerate(fields):
            low, high = row[2 * at + 1], row[2 * at + 2]
            kind = None if low is None else _holding(field.dataType, low, high)
            if kind is not None and not widens(field.dataType, kind):
                changes.append(Change((field.name,), field.dataType, kind))
        if changes:
            yield plain_path(row[0]), changes


def _finite(column: Column, kind: DataType) -> Column:
    """Without what no number needs a wider column for: infinite ones, and NaN, which would hide the others."""
    from pyspark.sql.connect import functions as F
    from pyspark.sql.types import FloatType

    return F.when(F.abs(column) < float("inf"), column) if isinstance(kind, FloatType) else column


def _widest(kind: DataType) -> DataType | None:
    """The widest type that Iceberg lets a column become; None where it is that already, or takes any number."""
    from pyspark.sql import types as T

    match kind:
        case T.IntegerType():
            return T.LongType()
        case T.FloatType():
            return T.DoubleType()
        case T.DecimalType() if kind.precision < _MOST_DIGITS:
            return T.DecimalType(_MOST_DIGITS, kind.scale)
    return None


def _holding(kind: DataType, low: Any, high: Any) -> DataType:
    """The narrowest type, of those that a column of type `kind` can become, for values from `low` to `high`."""
    from pyspark.sql import types as T

    if isinstance(kind, T.DecimalType):
        # Before the point; of 0 none.
        digits = max(number.adjusted() + 1 if number else 0 for number in (low, high))
        return T.DecimalType(max(digits + kind.scale, kind.precision), kind.scale)
    if isinstance(kind, T.FloatType):
        return kind if max(abs(low), abs(high)) < BEYOND_FLOAT else T.DoubleType()
    return T.IntegerType() if low >= -(2**31) and high < 2**31 else T.LongType()
