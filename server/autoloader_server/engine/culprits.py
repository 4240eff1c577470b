"""Which files are at fault where Spark cannot read them all: it names them, or they are halved until one is alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, TypeVar

from autoloader_server.engine.changes import Change
from autoloader_server.engine.errors import DATA_MALFORMED, FileFailure
from autoloader_server.engine.explain import DO_NOT_FIT, about_files, explain, named_paths, run_error
from autoloader_server.engine.formats.base import CORRUPT_COLUMN, PATH_COLUMN, Format, Look, Looks, Sifting
from autoloader_server.engine.read import plain_path
from autoloader_server.engine.required import demands, no_value
from autoloader_server.engine.schema import merge
from autoloader_server.engine.sql import identifier
from autoloader_server.spark.sessions import spark_errors

if TYPE_CHECKING:
    from pyspark.sql import Column
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import StructField, StructType

_MOST_OF_A_RECORD = 200
_Found = TypeVar("_Found")


def culprits(spark: SparkSession, fmt: Format, looks: Sequence[Look], data: StructType) -> list[FileFailure]:
    """The files of these that cannot be read into `data`, found by reading without writing.

    One read counts the malformed records of each file; where a file cannot even be read, Spark names it, or the files
    are halved until it stands alone. Raises SparkUnavailable where Spark is the fault.
    """
    failures: list[FileFailure] = []
    rest = list(looks)
    while rest:
        try:
            with spark_errors():
                malformed = _malformed(spark, fmt, rest, data)
        except Exception as error:
            if not about_files(error):
                raise run_error(error, spark) from error
            named = [look for look in rest if look.path in named_paths(str(error), rest)]
            if not named and len(rest) == 1:
                named = rest
            if not named:
                half = len(rest) // 2
                found = culprits(spark, fmt, rest[:half], data) + culprits(spark, fmt, rest[half:], data)
                return failures + found
            failures += [explain(error, look.path) for look in named]
            gone = {look.path for look in named}
            rest = [look for look in rest if look.path not in gone]
            continue
        return failures + malformed
    return failures


def infer(spark: SparkSession, fmt: Format, looks: Sequence[Look]) -> tuple[StructType, list[FileFailure]]:
    """The columns of these files, and those of which none can be made out: Spark cannot read them.

    Raises RunStopped or SparkUnavailable where Spark is the fault.
    """
    from pyspark.sql.types import StructType

    found: list[StructType | FileFailure] = by_halves(spark, looks, lambda some: [fmt.infer(spark, some)], fails_alone)
    schemas = [one for one in found if not isinstance(one, FileFailure)]
    failures = [one for one in found if isinstance(one, FileFailure)]
    return reduce(merge, schemas) if schemas else StructType([]), failures


def wider(spark: SparkSession, fmt: Format, looks: Sequence[Look], data: StructType) -> list[tuple[str, Change]]:
    """What types the columns would need for these files; nothing of those whose columns Spark cannot make out."""
    return by_halves(spark, looks, lambda some: fmt.wider(spark, some, data), lambda _error, _look: [])


def misfits(spark: SparkSession, fmt: Format, looks: Sequence[Look], data: StructType) -> list[FileFailure]:
    """The files that cannot go into these columns, and those whose columns Spark cannot make out."""
    return by_halves(spark, looks, lambda some: fmt.misfits(spark, some, data), fails_alone)


def by_halves(
    spark: SparkSession,
    looks: Sequence[Look],
    read: Callable[[Sequence[Look]], Iterable[_Found]],
    alone: Callable[[Exception, Look], Sequence[_Found]],
) -> list[_Found]:
    """What `read` finds in all of these files; where Spark cannot read them they are halved until one stands `alone`.

    Raises RunStopped or SparkUnavailable where Spark is the fault.
    """
    if not looks:
        return []
    try:
        with spark_errors():
            return list(read(looks))
    except Exception as error:
        if not about_files(error):
            raise run_error(error, spark) from error
        if len(looks) == 1:
            return list(alone(error, looks[0]))
    half = len(looks) // 2
    return by_halves(spark, looks[:half], read, alone) + by_halves(spark, looks[half:], read, alone)


def fails_alone(error: Exception, look: Look) -> list[FileFailure]:
    """For `by_halves`: a file that Spark cannot read fails, with the error in its own words."""
    return [explain(error, look.path)]


def _malformed(spark: SparkSession, fmt: Format, looks: Sequence[Look], data: StructType) -> list[FileFailure]:
    """Files with malformed records; an exception where a file cannot be read at all."""
    from pyspark.sql.connect import functions as F

    failures = []
    for members in Looks(list(looks)).groups().values():
        frame = fmt.read(spark, members, data, keep_malformed=True)
        nulls = [F.col(identifier(field.name)).isNull().alias(f"c{at}") for at, field in enumerate(data.fields)]
        needed = demands(data, lambda name: F.col(identifier(name)))
        rows = (
            frame.groupBy(PATH_COLUMN)
            .agg(
                F.count(F.col(CORRUPT_COLUMN)).alias("bad"),
                F.count(F.lit(1)).alias("all"),
                F.first(
                    F.when(F.col(CORRUPT_COLUMN).isNotNull(), F.struct(CORRUPT_COLUMN, *nulls)), ignorenulls=True
                ).alias("first"),
                F.max(everything(data)).alias("parsed"),
                *[F.count(F.when(lacks, 1)).alias(f"l{at}") for at, (_, lacks) in enumerate(needed)],
            )
            .collect()
        )
        told_apart = isinstance(fmt, Sifting) and all(map(fmt.has_records, members))
        what_to_do = "mend them, or see on_bad_record" if told_apart else "mend them"
        # Not in Spark: it would see that a format without malformed records has none, and read nothing.
        for row in rows:
            empty = [(name, row[f"l{at}"]) for at, (name, _) in enumerate(needed) if row[f"l{at}"]]
            if row["bad"]:
                record, *missing = row["first"]
                null = [field for field, is_null in zip(data.fields, missing, strict=True) if is_null]
                message = f"{row['bad']} of its {row['all']} {DO_NOT_FIT} ({what_to_do}); the first: " + _shown(
                    fmt, members[0], record, null
                )
            elif empty:
                name, number = empty[0]
                message = f"in {number} of its {row['all']} records {no_value(name)} ({what_to_do})"
            else:
                continue
            failures.append(FileFailure(plain_path(row[PATH_COLUMN]), DATA_MALFORMED, message))
    return failures


def everything(data: StructType) -> Column:
    """What has every column parsed: Spark would skip what nobody asks for."""
    from pyspark.sql.connect import functions as F

    # `hash` takes no maps.
    return F.hash(
        *[
            F.to_json(F.struct(column)) if _holds_map(field.dataType) else column
            for field in data.fields
            for column in [F.col(identifier(field.name))]
        ]
    )


def _shown(fmt: Format, look: Look, record: str, null: Sequence[StructField]) -> str:
    """A malformed record, and which of its columns has no value in the end, though there is one in the record."""
    wrong, text = misfit(fmt, look, record, null)
    if wrong is None:
        return repr(record if len(record) <= _MOST_OF_A_RECORD else record[:_MOST_OF_A_RECORD] + "…")
    if len(record) > _MOST_OF_A_RECORD:
        # As JSON, so that a secret is known by its name.
        record = json.dumps({wrong.name: text[:_MOST_OF_A_RECORD] + "…" if len(text) > _MOST_OF_A_RECORD else text})
    return f"{record!r}, where {wrong.name!r} is no {wrong.dataType.simpleString()}"


def misfit(fmt: Format, look: Look, record: str, null: Sequence[StructField]) -> tuple[StructField | None, str]:
    """The first of the columns without a value for which there is one in the record, and that value."""
    values = {name.casefold(): text for name, text in fmt.values(look, record).items() if text is not None}
    wrong = next((field for field in null if field.name.casefold() in values), None)
    return wrong, "" if wrong is None else values[wrong.name.casefold()]


def _holds_map(kind: object) -> bool:
    from pyspark.sql import types as T

    match kind:
        case T.MapType():
            return True
        case T.ArrayType():
            return _holds_map(kind.elementType)
        case T.StructType():
            return any(_holds_map(field.dataType) for field in kind.fields)
        case _:
            return False
