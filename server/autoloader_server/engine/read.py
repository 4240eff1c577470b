"""A batch's files as one frame, and which of them are at fault where Spark cannot read it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from autoloader_sdk.models import IngestionCreate
from autoloader_server.engine.errors import (
    AUTH,
    CONNECTIVITY,
    DATA_MALFORMED,
    MISSING,
    SCHEMA_MISMATCH,
    UNKNOWN,
    WRITE_FAILURE,
    FileFailure,
    RunStopped,
)
from autoloader_server.engine.formats.base import CORRUPT_COLUMN, PATH_COLUMN, Format, Look, Looks
from autoloader_server.engine.formats.csv_files import Csv
from autoloader_server.engine.formats.json_files import Json
from autoloader_server.engine.formats.parquet_files import Parquet
from autoloader_server.engine.schema import merge, without
from autoloader_server.engine.sql import identifier
from autoloader_server.spark.sessions import spark_errors

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import StructType

SOURCE_FILE = "_source_file"
_MOST_OF_A_RECORD = 200
_LONGEST = 2**31 - 1
# Characters that a URL may hold in another form than the path.
_ENCODED = re.compile(r"[^A-Za-z0-9/._=-]")


def make_format(spec: IngestionCreate) -> Format:
    """The reader of an ingestion's format, with its options."""
    options = spec.format.options.given() if spec.format.options else {}
    match spec.format.type:
        case "csv":
            return Csv(options)
        case "json":
            return Json(options)
        case "parquet":
            return Parquet(options)
        case other:
            raise RunStopped(f"format.type: {other!r} cannot be loaded by this version")


def frame_of(
    spark: SparkSession, fmt: Format, looks: Sequence[Look], schema: StructType, lineage: Sequence[str]
) -> DataFrame:
    """All rows of these files in the table's columns, each group of files by its own read."""
    data = without(schema, lineage)
    frames = [fmt.read(spark, members, data) for members in Looks(list(looks)).groups().values()]
    union = frames[0]
    for frame in frames[1:]:
        union = union.unionByName(frame)
    encoded = any(_ENCODED.search(look.path) for look in looks)
    return union.select(
        *[
            source_path(PATH_COLUMN, encoded=encoded).alias(name) if name in lineage else _column(name)
            for name in (field.name for field in schema.fields)
        ]
    )


def source_path(column: str, *, encoded: bool = True) -> Column:
    """The raw path of a row's file, as the ledger has it: Spark shows it as a URL.

    Decoding costs a quarter of a load, and paths of plain characters need none (`encoded` false).
    """
    from pyspark.sql.connect import functions as F

    path = F.col(column)
    # file:///a or file:/a
    bare = F.when(path.startswith("file://"), F.substring(path, 8, _LONGEST)).otherwise(F.substring(path, 6, _LONGEST))
    return F.url_decode(F.replace(bare, F.lit("+"), F.lit("%2B"))) if encoded else bare


def plain_path(shown: str) -> str:
    """The same for one path, here."""
    return re.sub(r"^file:(//)?/", "/", unquote(shown))


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
                raise run_error(error) from error
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

    try:
        with spark_errors():
            return fmt.infer(spark, looks), []
    except Exception as error:
        if not about_files(error):
            raise run_error(error) from error
        if len(looks) == 1:
            return StructType([]), [explain(error, looks[0].path)]
    half = len(looks) // 2
    left, bad = infer(spark, fmt, looks[:half])
    right, worse = infer(spark, fmt, looks[half:])
    return merge(left, right), bad + worse


def misfits(spark: SparkSession, fmt: Format, looks: Sequence[Look], data: StructType) -> list[FileFailure]:
    """The files that cannot go into these columns, and those whose columns Spark cannot make out."""
    try:
        with spark_errors():
            return fmt.misfits(spark, looks, data)
    except Exception as error:
        if not about_files(error):
            raise run_error(error) from error
        if len(looks) == 1:
            return [explain(error, looks[0].path)]
    half = len(looks) // 2
    return misfits(spark, fmt, looks[:half], data) + misfits(spark, fmt, looks[half:], data)


def _malformed(spark: SparkSession, fmt: Format, looks: Sequence[Look], data: StructType) -> list[FileFailure]:
    """Files with malformed records; an exception where a file cannot be read at all."""
    from pyspark.sql.connect import functions as F

    failures = []
    for members in Looks(list(looks)).groups().values():
        frame = fmt.read(spark, members, data, keep_malformed=True)
        # The hash has every column parsed; without it Spark would skip what nobody asks for. It takes no maps.
        everything = F.hash(
            *[
                F.to_json(F.struct(column)) if _holds_map(field.dataType) else column
                for field in data.fields
                for column in [_column(field.name)]
            ]
        )
        rows = (
            frame.groupBy(PATH_COLUMN)
            .agg(
                F.count(F.col(CORRUPT_COLUMN)).alias("bad"),
                F.count(F.lit(1)).alias("all"),
                F.first(CORRUPT_COLUMN, ignorenulls=True).alias("first"),
                F.max(everything).alias("parsed"),
            )
            .collect()
        )
        # Not in Spark: it would see that a format without malformed records has none, and read nothing.
        for row in rows:
            if row["bad"] == 0:
                continue
            record = row["first"] if len(row["first"]) <= _MOST_OF_A_RECORD else row["first"][:_MOST_OF_A_RECORD] + "…"
            message = f"{row['bad']} of its {row['all']} records do not fit the table's columns; the first: {record!r}"
            failures.append(FileFailure(plain_path(row[PATH_COLUMN]), DATA_MALFORMED, message))
    return failures


def named_paths(message: str, looks: Sequence[Look]) -> set[str]:
    """Those of the files that an error of Spark's names: a URL after `file://`, a path after `file:`."""
    shown = {
        form: look.path
        for look in looks
        for form in (f"file://{_url(look.path)}", f"file:{look.path}")
        if form in message
    }
    # A path that only begins another one which is named is not itself named.
    return {
        path
        for form, path in shown.items()
        if not all(
            _part_of_longer(message, found.start(), form, shown) for found in re.finditer(re.escape(form), message)
        )
    }


# RFC 2396, as java.net.URI has it; what is no ASCII it leaves as it is.
_LEGAL_IN_A_URL = "/-_.!~'()*,;:$&+=@"


def _url(path: str) -> str:
    return "".join(letter if not letter.isascii() else quote(letter, safe=_LEGAL_IN_A_URL) for letter in path)


def _part_of_longer(message: str, start: int, form: str, shown: Mapping[str, str]) -> bool:
    return any(len(other) > len(form) and message.startswith(other, start) for other in shown)


_ABOUT_FILES = re.compile(
    r"FAILED_READ_FILE|MALFORMED_|BadRecordException|FILE_NOT_EXIST|PATH_NOT_FOUND|FileNotFoundException|"
    r"EOFException|ZipException|ZlibException|BZip2|not in GZIP|incorrect header check|CAST_OVERFLOW|CAST_INVALID|"
    r"CorruptStatistics|is not a Parquet file|CANNOT_READ_FILE_FOOTER|Could not read footer|Permission denied|"
    r"COLUMN_ALREADY_EXISTS|PARQUET_TYPE_|PARQUET_COLUMN_DATA_TYPE_MISMATCH|UNABLE_TO_INFER_SCHEMA"
)


def about_files(error: Exception) -> bool:
    """Whether an error tells of what was read. Anything else, a fault of ours included, is blamed on no file."""
    return type(error).__module__.startswith("pyspark.") and _ABOUT_FILES.search(str(error)) is not None


def explain(error: Exception, path: str) -> FileFailure:
    """An error of Spark's about one file, as a category and a sentence."""
    text = str(error).split("JVM stacktrace:")[0]
    if re.search(r"FILE_NOT_EXIST|PATH_NOT_FOUND|FileNotFoundException|No such file", text):
        return FileFailure(path, MISSING, "it vanished while it was being read")
    if re.search(r"AccessDenied|Permission denied|403|Forbidden", text):
        return FileFailure(path, AUTH, "Spark has no right to read it")
    if re.search(r"EOFException|Unexpected end of|ZipException|ZlibException|incorrect header check|not in GZIP", text):
        return FileFailure(path, DATA_MALFORMED, "its compressed content is cut off or damaged")
    if "COLUMN_ALREADY_EXISTS" in text:
        return FileFailure(
            path, SCHEMA_MISMATCH, f"it has a field twice, or two that differ only in case: {_first_line(text)}"
        )
    if re.search(r"MALFORMED_RECORD|BadRecordException|MALFORMED_CSV_RECORD", text):
        return FileFailure(path, DATA_MALFORMED, "its records do not fit the table's columns")
    if re.search(r"PARQUET_COLUMN_DATA_TYPE_MISMATCH|CAST_OVERFLOW|CAST_INVALID_INPUT", text):
        return FileFailure(path, SCHEMA_MISMATCH, f"its values do not fit the table's columns: {_first_line(text)}")
    return FileFailure(path, DATA_MALFORMED, f"Spark cannot read it: {_first_line(text)}")


def run_error(error: Exception) -> RunStopped:
    """An error of Spark's that no file is to blame for; a fault of ours stays what it is."""
    if not type(error).__module__.startswith("pyspark."):
        raise error
    text = str(error).split("JVM stacktrace:")[0]
    if "No space left on device" in text or "SQLITE_FULL" in text:
        return RunStopped("the disk is full: free some space and run again; nothing was lost", WRITE_FAILURE)
    if re.search(r"SparkOutOfMemoryError|OutOfMemoryError", text):
        return RunStopped("Spark ran out of memory: give it more, or lower limits.max_bytes_per_batch", WRITE_FAILURE)
    category = CONNECTIVITY if "UNAVAILABLE" in text else UNKNOWN
    return RunStopped(f"Spark failed: {_first_line(text)}", category)


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return (lines[0] if lines else "no reason given")[:400]


def _column(name: str) -> Column:
    from pyspark.sql.connect import functions as F

    return F.col(identifier(name))


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
