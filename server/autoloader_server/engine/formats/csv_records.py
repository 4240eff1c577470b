"""CSV, record by record: each with its text, what Spark makes of it, and whether that is what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from autoloader_server.engine.formats.base import CORRUPT_COLUMN, PATH_COLUMN, by_name, shown_path
from autoloader_server.engine.formats.csv_values import Checks
from autoloader_server.engine.sql import type_sql

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import DataType, StructType

# A date of which no record is one. (A quote within quotes is doubled in a pattern; what is quoted stands for itself.)
_NO_DATE = "'\u0001no date\u0001'yyyy"
_ENDS = {"CRLF": "\r\n", "CR": "\r"}
TEXT_COLUMN = "__autoloader_text"


def texts(spark: SparkSession, paths: list[str], width: int, options: Mapping[str, str], ends: str) -> DataFrame:
    """The records of files with so many columns, as text, each with its file's path.

    Spark tells the text of a malformed record alone, so each is made one: by its number of fields, or by a field that
    is no date. Of one that has as few fields as are asked for, and all of them null, it tells none: null. `ends`: how
    the lines end, by its name or as it stands there.
    """
    from pyspark.sql.connect import functions as F
    from pyspark.sql.types import DateType, StringType, StructField, StructType

    names = ["c0"] if width > 1 else ["c0", "c1"]
    schema = StructType([*(StructField(name, DateType()) for name in names), StructField(CORRUPT_COLUMN, StringType())])
    frame = spark.read.schema(schema).options(**{**options, "dateFormat": _NO_DATE, "mode": "PERMISSIVE"}).csv(paths)
    # Spark refuses to read nothing but the text.
    text = F.coalesce(F.col(CORRUPT_COLUMN), F.col("c0").cast("string"))
    # It takes an unusual end for a part of the record; Scala 2.12, which Spark 3.5 is on, also CR.
    if left := {"CR": "\r", "LF": "", "CRLF": ""}.get(ends, ends):
        text = F.regexp_replace(text, rf"\Q{left}\E\z", "")
    return frame.select(text.alias(TEXT_COLUMN), shown_path(schema).alias(PATH_COLUMN))


def types_of(columns: Sequence[str], data: StructType) -> list[DataType]:
    """What a file's columns are to be; one that is not wanted is read as text, and dropped."""
    from pyspark.sql.types import StringType

    have = by_name(data)
    return [have[name.casefold()].dataType if name.casefold() in have else StringType() for name in columns]


def no_records(spark: SparkSession, data: StructType) -> DataFrame:
    """What `parsed` gives of files without a record that could tell columns."""
    from pyspark.sql.connect import functions as F

    nothing = [F.lit(None).cast(field.dataType).alias(field.name) for field in data.fields]
    more = [F.lit("").alias(name) for name in (PATH_COLUMN, TEXT_COLUMN, CORRUPT_COLUMN)]
    return spark.range(0).select(*nothing, *more)


def parsed(
    records: DataFrame,
    columns: Sequence[str],
    data: StructType,
    options: Mapping[str, str],
    checks: Checks,
    *,
    ends: str,
    nothing: str,
) -> DataFrame:
    """The records in the columns of `data`, as text and, if it is bad, once more in `CORRUPT_COLUMN`.

    Null is in the place of what does not fit. `columns`: those of the file; `ends`: how its lines end, if that matters;
    `nothing` is shown of a record without a text, which is a bad one. The options are literals of an expression, which
    plans and errors show.
    """
    from pyspark.sql.connect import functions as F
    from pyspark.sql.types import StringType

    kinds = types_of(columns, data)
    read = _ddl([checks.read_as(kind) for kind in kinds]) + f", {CORRUPT_COLUMN} STRING"
    parsing = {**options, "mode": "PERMISSIVE"}
    text = F.coalesce(F.col(TEXT_COLUMN), F.lit(nothing))
    # As the reader of files does it: a line's end within quotes becomes LF where it is one of the file's own.
    line = F.replace(text, F.lit(_ENDS[ends]), F.lit("\n")) if ends in _ENDS else text
    frame = records.select(
        text.alias(TEXT_COLUMN),
        PATH_COLUMN,
        # Spark's parser fails on an empty text and tells none of it.
        (F.col(TEXT_COLUMN).isNull() | (F.col(TEXT_COLUMN) == "")).alias("untold"),
        F.from_csv(line, read, parsing).alias("its"),
        F.from_csv(line, _ddl([StringType() for _ in kinds]), parsing).alias("written"),
    )
    at = {name.casefold(): position for position, name in enumerate(columns)}
    bad = F.col("untold") | F.col(f"its.{CORRUPT_COLUMN}").isNotNull()
    fields = []
    for field in data.fields:
        position = at.get(field.name.casefold())
        if position is None:
            fields.append(F.lit(None).cast(field.dataType).alias(field.name))
            continue
        column: Column = F.col(f"its.c{position}")
        checked = checks.exact(f"its.c{position}", f"written.c{position}", field.dataType)
        if checked is not None:
            value, holds = checked
            # What is null was, or is malformed, which Spark has told.
            bad = bad | (column.isNotNull() & ~F.coalesce(holds, F.lit(False)))
            column = F.when(holds, value)
        fields.append(column.alias(field.name))
    return frame.select(*fields, PATH_COLUMN, TEXT_COLUMN, F.when(bad, F.col(TEXT_COLUMN)).alias(CORRUPT_COLUMN))


def _ddl(kinds: Sequence[DataType]) -> str:
    return ", ".join(f"c{at} {type_sql(kind)}" for at, kind in enumerate(kinds))
