"""What an error of Spark's says: of a file, or of the run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

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
from autoloader_server.engine.formats.base import Look
from autoloader_server.engine.needs import lacking
from autoloader_server.engine.store_trouble import trouble
from autoloader_server.security.redact import logger
from autoloader_server.spark.errors import SparkUnavailable, first_line
from autoloader_server.spark.s3 import unalias
from autoloader_server.spark.sessions import check_session

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

_log = logger(__name__)
_ABOUT_FILES = re.compile(
    r"FAILED_READ_FILE|MALFORMED_|BadRecordException|FILE_NOT_EXIST|PATH_NOT_FOUND|FileNotFoundException|"
    r"EOFException|ZipException|ZlibException|BZip2|not in GZIP|incorrect header check|CAST_OVERFLOW|CAST_INVALID|"
    r"CorruptStatistics|is not a Parquet file|CANNOT_READ_FILE_FOOTER|Could not read footer|Permission denied|"
    r"COLUMN_ALREADY_EXISTS|AccessDeniedException|URISyntaxException|PARQUET_TYPE_|PARQUET_COLUMN_DATA_TYPE_MISMATCH|"
    r"UNABLE_TO_INFER_SCHEMA|IncompatibleSchemaException|recursive reference in Avro|SchemaParseException|"
    r"AvroTypeException|DECIMAL_PRECISION_EXCEEDS_MAX_PRECISION|NOT_NULL_ASSERT_VIOLATION|NUMERIC_VALUE_OUT_OF_RANGE|"
    # Of ORC's reader, about fractions of seconds that pyarrow writes before 1970.
    r"nanos > 999999999 or < 0|"
    # Protocol buffers, by which Spark Connect tells of columns, go no deeper than a hundred messages.
    r"Exception deserializing response|"
    # Spark 3.5 has no names for these.
    r"Null value appeared in non-nullable field|"
    r"Encountered error while reading file|Parquet column cannot be converted|Illegal Parquet type|Input Pattern|"
    # Nor does it tell more of what failed in one side of a join.
    r"Exception thrown in awaitResult"
)
_UNREAD = re.compile(r"FAILED_READ_FILE|Encountered error while reading file|Exception thrown in awaitResult")
# RFC 2396, as java.net.URI has it; what is no ASCII it leaves as it is.
_LEGAL_IN_A_URL = "/-_.!~'()*,;:$&+=@"
_LONGEST_REASON = 400
DISK_FULL = "the disk is full: free some space and run again; nothing was lost"
TOO_DEEP = (
    "its columns are nested deeper than Spark Connect can tell: 30 structs, or 22 where every second is in an array"
)
DO_NOT_FIT = "records do not fit the table's columns"


def about_files(error: Exception) -> bool:
    """Whether an error tells of what was read. Anything else, a fault of ours included, is blamed on no file."""
    text = str(error)
    if not type(error).__module__.startswith("pyspark.") or _ABOUT_FILES.search(text) is None:
        return False
    return trouble(text) is None


def explain(error: Exception, path: str) -> FileFailure:
    """An error of Spark's about one file, as a category and a sentence."""
    text = _without_stack(error)
    if re.search(r"FILE_NOT_EXIST|PATH_NOT_FOUND|FileNotFoundException|No such file", text):
        return FileFailure(path, MISSING, "it vanished while it was being read; when it is back, retry the run")
    if re.search(r"AccessDeniedException|AccessControlException|Permission denied|Status Code: 403", text):
        return FileFailure(path, AUTH, "Spark has no right to read it; give the right to, and retry the run")
    if "Input Pattern" in text:
        return FileFailure(
            path,
            DATA_MALFORMED,
            "Spark takes its name for a pattern where a record may span lines: give it a name without [ ] { }",
        )
    if "URISyntaxException" in text:
        why = "its name has a colon, which Spark cannot read where a record may span lines: rename it"
        return FileFailure(path, DATA_MALFORMED, why)
    if re.search(r"EOFException|Unexpected end of|ZipException|ZlibException|incorrect header check|not in GZIP", text):
        return FileFailure(path, DATA_MALFORMED, "its compressed content is cut off or damaged; write it again")
    if "Exception deserializing response" in text:
        return FileFailure(path, DATA_MALFORMED, TOO_DEEP)
    if "COLUMN_ALREADY_EXISTS" in text:
        return FileFailure(
            path, SCHEMA_MISMATCH, f"it has a field twice, or two that differ only in case: {_reason(error)}"
        )
    if re.search(r"MALFORMED_|BadRecordException", text):
        return FileFailure(path, DATA_MALFORMED, f"its {DO_NOT_FIT} (mend them)")
    if re.search(
        r"PARQUET_COLUMN_DATA_TYPE_MISMATCH|cannot be converted in file|CAST_OVERFLOW|CAST_INVALID_INPUT", text
    ):
        return FileFailure(path, SCHEMA_MISMATCH, f"its values do not fit the table's columns: {_reason(error)}")
    if path.startswith("s3://") and _UNREAD.search(text) and "Caused by" not in str(error):
        # Spark 3.5 cuts its errors off before it comes to the cause, which may be the store.
        why = "Spark cannot read it and does not say why (its content may be damaged, or the store may have failed)"
        return FileFailure(path, UNKNOWN, f"{why}: {_reason(error)}")
    return FileFailure(path, DATA_MALFORMED, f"Spark cannot read it: {_reason(error)}")


def run_error(error: Exception, spark: SparkSession) -> RunStopped:
    """An error of Spark's that no file is to blame for; a fault of ours stays what it is."""
    if not type(error).__module__.startswith("pyspark."):
        raise error
    if (gone := _gone(spark)) is not None:
        return RunStopped(gone, CONNECTIVITY)
    text = _without_stack(error)
    if (found := trouble(str(error))) is not None:
        return RunStopped(f"{found.sentence}. Spark said: {_reason(error)}", found.category)
    if "No space left on device" in text or "SQLITE_FULL" in text:
        return RunStopped(DISK_FULL, WRITE_FAILURE)
    if re.search(r"SparkOutOfMemoryError|OutOfMemoryError", text):
        return RunStopped("Spark ran out of memory: give it more, or lower limits.max_bytes_per_batch", WRITE_FAILURE)
    with suppress(Exception):  # of a server that is gone by now
        if (sentence := lacking(text, spark.version)) is not None:
            return RunStopped(sentence, CONNECTIVITY)
    category = CONNECTIVITY if "UNAVAILABLE" in text else UNKNOWN
    return RunStopped(f"Spark failed: {_reason(error)}", category)


def _gone(spark: SparkSession) -> str | None:
    """What is said where the server has made another session in the place of ours, of which it told then."""
    try:
        check_session(spark)
    except SparkUnavailable as error:
        return str(error)
    except Exception as error:
        _log.warning("whether Spark's session is still ours cannot be told: %s", first_line(error))
    return None


def named_paths(message: str, looks: Sequence[Look]) -> set[str]:
    """Those of the files that an error of Spark's names: a URL after `file://`, a path after `file:`.

    Objects likewise, under whatever scheme: `://bucket/key`.
    """
    shown = {form: look.path for look in looks for form in _forms(look.path) if form in message}
    # A path that only begins another one which is named is not itself named.
    return {
        path
        for form, path in shown.items()
        if not all(
            _part_of_longer(message, found.start(), form, shown) for found in re.finditer(re.escape(form), message)
        )
    }


def _forms(path: str) -> tuple[str, str]:
    if path.startswith("s3://"):
        return path[2:], "://" + _url(path[5:])
    return f"file://{_url(path)}", f"file:{path}"


def _part_of_longer(message: str, start: int, form: str, shown: Mapping[str, str]) -> bool:
    return any(len(other) > len(form) and message.startswith(other, start) for other in shown)


def _url(path: str) -> str:
    return "".join(letter if not letter.isascii() else quote(letter, safe=_LEGAL_IN_A_URL) for letter in path)


def _without_stack(error: Exception) -> str:
    return unalias(str(error).partition("JVM stacktrace:")[0])


def _reason(error: Exception) -> str:
    return unalias(first_line(error))[:_LONGEST_REASON]
