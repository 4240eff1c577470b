"""CSV: the header of each file is read here, since Spark goes by position and would put columns under other names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoloader_sdk.discovery.csvfiles import CsvOptions, read_csv_head
from autoloader_sdk.discovery.escape import spark_path
from autoloader_server.engine.errors import DATA_MALFORMED, MISSING, SCHEMA_MISMATCH, FileFailure
from autoloader_server.engine.formats.base import CORRUPT_COLUMN, Look, Looks, by_name, spark_options, spread
from autoloader_server.engine.schema import merge

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import StructType

_SPARK_NAMES = {
    "delimiter": "sep",
    "quote": "quote",
    "escape": "escape",
    "comment": "comment",
    "line_separator": "lineSep",
    "null_value": "nullValue",
    "empty_value": "emptyValue",
    "nan_value": "nanValue",
    "positive_inf": "positiveInf",
    "negative_inf": "negativeInf",
    "date_format": "dateFormat",
    "timestamp_format": "timestampFormat",
    "timestamp_ntz_format": "timestampNTZFormat",
    "locale": "locale",
    "ignore_leading_white_space": "ignoreLeadingWhiteSpace",
    "ignore_trailing_white_space": "ignoreTrailingWhiteSpace",
}
# Up to here the types are taken from every row of the files that make the table; beyond, from a sample of files.
_INFER_ALL_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class _Group:
    columns: tuple[str, ...]
    encoding: str


class Csv:
    """CSV with an ingestion's options; RFC 4180 where they say nothing."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._header = bool(options.get("header", True))
        self._head_options = CsvOptions.from_mapping(options)
        # Quotes are doubled within quotes; Spark's own default is a backslash.
        quote = str(options.get("quote", '"'))
        self._options = {
            "escape": quote,
            "multiLine": str(options.get("multiline") is not False).lower(),
            # With pruning, a record with too few or too many fields is not noticed.
            "columnPruning": "false",
            "columnNameOfCorruptRecord": CORRUPT_COLUMN,
            "maxCharsPerColumn": "-1",
            **spark_options(options, _SPARK_NAMES),
        }

    def look(self, files: Sequence[tuple[str, int]], known: StructType | None) -> Looks:
        have = by_name(known) if known is not None else {}
        looks = Looks()
        for path, size in files:
            try:
                head = read_csv_head(path, self._head_options)
            except FileNotFoundError:
                looks.failures.append(FileFailure(path, MISSING, "it vanished after it was listed"))
                continue
            except OSError as error:
                looks.failures.append(FileFailure(path, MISSING, f"it cannot be opened: {error.strerror}"))
                continue
            if head.problem:
                looks.failures.append(FileFailure(path, DATA_MALFORMED, head.problem))
                continue
            columns = self._names(head.columns)
            if self._header and head.duplicates:
                names = ", ".join(repr(name) for name in head.duplicates)
                message = f"its header has columns that are the same but for case: {names}"
                looks.failures.append(FileFailure(path, SCHEMA_MISMATCH, message))
                continue
            unfamiliar = any(column.casefold() not in have for column in columns)
            looks.good.append(Look(path, size, _Group(columns, head.encoding), columns, unfamiliar))
        return looks

    def infer(self, spark: SparkSession, looks: Sequence[Look]) -> StructType:
        from pyspark.sql.types import StructField, StructType

        if sum(look.size for look in looks) > _INFER_ALL_BYTES:
            looks = spread(looks)
        found = StructType([])
        for group, members in Looks(list(looks)).groups().items():
            assert isinstance(group, _Group)
            if not group.columns:
                continue
            reader = spark.read.options(**self._reader(group)).option("inferSchema", "true")
            inferred = reader.csv([spark_path(look.path) for look in members]).schema
            found = merge(
                found,
                StructType(
                    [
                        StructField(name, field.dataType)
                        for name, field in zip(group.columns, inferred.fields, strict=False)
                    ]
                ),
            )
        return found

    def misfits(self, spark: SparkSession, looks: Sequence[Look], data: StructType) -> list[FileFailure]:
        return []

    def read(
        self, spark: SparkSession, looks: Sequence[Look], data: StructType, *, keep_malformed: bool = False
    ) -> DataFrame:
        from pyspark.sql.connect import functions as F
        from pyspark.sql.types import StringType, StructField, StructType

        group = looks[0].group
        assert isinstance(group, _Group)
        have = by_name(data)
        # By position; a column that the table does not have is read as text and dropped.
        fields = [
            StructField(f"c{at}", have[name.casefold()].dataType if name.casefold() in have else StringType())
            for at, name in enumerate(group.columns)
        ]
        if keep_malformed:
            fields.append(StructField(CORRUPT_COLUMN, StringType()))
        reader = spark.read.schema(StructType(fields)).options(**self._reader(group))
        frame = reader.option("mode", "PERMISSIVE" if keep_malformed else "FAILFAST").csv(
            [spark_path(look.path) for look in looks]
        )
        at = {name.casefold(): f"c{position}" for position, name in enumerate(group.columns)}
        columns = [
            (
                F.col(at[name]) if (name := field.name.casefold()) in at else F.lit(None).cast(field.dataType)
            ).alias(field.name)
            for field in data.fields
        ]
        return frame.select(
            *columns,
            F.col("_metadata.file_path").alias("_path"),
            *([CORRUPT_COLUMN] if keep_malformed else []),
        )

    def _names(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """What Spark would call the columns."""
        if not self._header:
            return tuple(f"_c{at}" for at in range(len(columns)))
        return tuple(name if name.strip() else f"_c{at}" for at, name in enumerate(columns))

    def _reader(self, group: _Group) -> dict[str, str]:
        return {**self._options, "header": str(self._header).lower(), "encoding": group.encoding}
