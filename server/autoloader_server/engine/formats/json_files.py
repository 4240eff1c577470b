"""JSON: each file is scanned here for fields that the table does not have, which Spark would drop without a word.

The scan is msgspec's, against types made from the table's schema: 102 MB in 2,000 files take 0.15 s, a tenth of loading
them (Spark's own inference over all of them takes 0.65 of loading). Files that do not pass are looked at by Spark.
"""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from autoloader_sdk.discovery.escape import spark_path
from autoloader_server.engine.errors import DATA_MALFORMED, MISSING, SCHEMA_MISMATCH, FileFailure
from autoloader_server.engine.formats.base import CORRUPT_COLUMN, Look, Looks, by_name, spark_options, spread
from autoloader_server.engine.formats.json_scan import Scanner
from autoloader_server.engine.schema import merge

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import StructType

_SPARK_NAMES = {
    "encoding": "encoding",
    "line_separator": "lineSep",
    "date_format": "dateFormat",
    "timestamp_format": "timestampFormat",
    "timestamp_ntz_format": "timestampNTZFormat",
    "locale": "locale",
    "allow_comments": "allowComments",
    "allow_single_quotes": "allowSingleQuotes",
    "allow_unquoted_field_names": "allowUnquotedFieldNames",
    "allow_non_numeric_numbers": "allowNonNumericNumbers",
    "allow_backslash_escaping_any_character": "allowBackslashEscapingAnyCharacter",
}
_LINES = "lines"
_WHOLE = "whole"
# One worker scans 0.7 GB/s; more than this is left to Spark, which reads on all cores.
_SCAN_BYTES = 2**30
_UNREADABLE = {
    ".zst": "zstd",
    ".zstd": "zstd",
    ".snappy": "snappy",
    ".lz4": "lz4",
    ".xz": "xz",
    ".zip": "zip",
    ".br": "brotli",
}


class Json:
    """JSON, one record a line or one value a file; each file is read in the way it is written."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._multiline = bool(options.get("multiline"))
        self._encoded = options.get("encoding") not in (None, "UTF-8", "utf-8", "utf8")
        self._options = {
            "columnNameOfCorruptRecord": CORRUPT_COLUMN,
            # A column that is only null, {} or [] takes its type from its first value.
            "dropFieldIfAllNull": "true",
            **spark_options(options, _SPARK_NAMES),
        }

    def look(self, files: Sequence[tuple[str, int]], known: StructType | None) -> Looks:
        looks = Looks()
        scanner = Scanner(known) if known is not None else None
        scan = sum(size for _, size in files) <= _SCAN_BYTES and not self._encoded
        for path, size in files:
            suffix = next((end for end in _UNREADABLE if path.endswith(end)), None)
            if suffix is not None:
                message = f"Spark reads no JSON compressed as {_UNREADABLE[suffix]}: use gzip or bzip2, or unpack it"
                looks.failures.append(FileFailure(path, DATA_MALFORMED, message))
                continue
            try:
                looks.good.append(self._look(path, size, scanner, scan=scan))
            except FileNotFoundError:
                looks.failures.append(FileFailure(path, MISSING, "it vanished after it was listed"))
            except (EOFError, gzip.BadGzipFile, OSError, ValueError) as error:
                message = f"it cannot be read: {error or type(error).__name__}"
                looks.failures.append(FileFailure(path, DATA_MALFORMED, message))
        return looks

    def infer(self, spark: SparkSession, looks: Sequence[Look]) -> StructType:
        def inferred(some: Sequence[Look]) -> StructType:
            from pyspark.sql.types import StructType

            found = StructType([])
            for group, members in Looks(list(some)).groups().items():
                reader = spark.read.options(**self._reader(group))
                found = merge(found, reader.json([spark_path(look.path) for look in members]).schema)
            return found

        first = spread(looks)
        if len(first) == len(looks):
            return inferred(looks)
        found = inferred(first)
        # The sample's schema is held against every other file; those that do not fit it have their say.
        again = self.look([(look.path, look.size) for look in looks], found)
        strange = [look for look in again.good if look.unfamiliar]
        if not strange:
            return found
        known = {look.path for look in strange}
        return inferred([*(look for look in first if look.path not in known), *strange])

    def misfits(self, spark: SparkSession, looks: Sequence[Look], data: StructType) -> list[FileFailure]:
        exact = {field.name for field in data.fields}
        have = by_name(data)
        failures = []
        for look in looks:
            name = next(
                (name for name in look.columns if name not in exact and name.casefold() in have), None
            )
            if name is not None:
                column = have[name.casefold()].name
                message = f"its field {name!r} differs from the column {column!r} only in case"
                failures.append(FileFailure(look.path, SCHEMA_MISMATCH, message))
        return failures

    def read(
        self, spark: SparkSession, looks: Sequence[Look], data: StructType, *, keep_malformed: bool = False
    ) -> DataFrame:
        from pyspark.sql.connect import functions as F
        from pyspark.sql.types import StringType, StructField, StructType

        corrupt = [StructField(CORRUPT_COLUMN, StringType())] if keep_malformed else []
        reader = spark.read.schema(StructType([*data.fields, *corrupt])).options(
            **self._reader(looks[0].group)
        )
        frame = reader.option("mode", "PERMISSIVE" if keep_malformed else "FAILFAST").json(
            [spark_path(look.path) for look in looks]
        )
        return frame.select("*", F.col("_metadata.file_path").alias("_path"))

    def _reader(self, group: Any) -> dict[str, str]:
        return {**self._options, "multiLine": str(group == _WHOLE).lower()}

    def _look(self, path: str, size: int, scanner: Scanner | None, *, scan: bool) -> Look:
        if not scan:
            return Look(
                path, size, _WHOLE if self._multiline or _starts_array(path) else _LINES, (), unfamiliar=True
            )
        data = _content(path)
        if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data[:1024]:
            if data[:2] not in (b"\xff\xfe", b"\xfe\xff") and b"\0" in data[:4].replace(b"{", b""):
                raise ValueError("it holds binary data, not JSON")
            return Look(path, size, _WHOLE if self._multiline else _LINES, (), unfamiliar=True)
        shape = _shape(data)
        if shape is None:
            raise ValueError(
                "it holds several JSON values that run over lines: write one value a line, or one array a file"
            )
        if scanner is None:
            return Look(path, size, shape, (), unfamiliar=True)
        fits = scanner.fits(data, whole=shape == _WHOLE)
        unknown = () if fits else scanner.unknown(data, whole=shape == _WHOLE)
        return Look(path, size, shape, unknown, unfamiliar=not fits)


def _content(path: str) -> bytes:
    if path.endswith((".gz", ".gzip")):
        with gzip.open(path) as stream:
            return stream.read()
    if path.endswith(".bz2"):
        with bz2.open(path) as stream:
            return stream.read()
    with open(path, "rb") as stream:
        return stream.read()


def _starts_array(path: str) -> bool:
    with open(path, "rb") as stream:
        return stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")


def _shape(data: bytes) -> str | None:
    """Lines, one whole value, or None where it is neither: Spark would read the first value and drop the others."""
    first, _, rest = data.lstrip().partition(b"\n")
    if _is_json(first):
        return _LINES if rest.strip() or not first.lstrip(b"\xef\xbb\xbf").startswith(b"[") else _WHOLE
    if not rest.strip():
        return _LINES
    if _is_json(data):
        return _WHOLE
    # Neither for a strict parser. Spark is more lenient (single quotes, NaN), and names the record that it refuses.
    return (
        None
        if not first.rstrip().endswith((b"}", b"]")) or first.strip() in (b"{", b"[", b"{}", b"[]")
        else _LINES
    )


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=msgspec.Raw)
    except msgspec.DecodeError:
        return False
    return True
