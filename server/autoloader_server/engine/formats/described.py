"""Formats whose files tell their own columns and types exactly: Parquet, ORC and Avro.

The worker reads what a file tells of itself; files that tell the same are read by one Spark read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from autoloader_server.engine.changes import Change, Path, all_paths, widenings
from autoloader_server.engine.errors import SCHEMA_MISMATCH, FileFailure
from autoloader_server.engine.formats.base import (
    CORRUPT_COLUMN,
    PATH_COLUMN,
    Look,
    Looks,
    by_name,
    shown_path,
    unopened,
)
from autoloader_server.engine.formats.text import Unreadable
from autoloader_server.engine.place import LOCAL, Place
from autoloader_server.engine.schema import merge, storable, widens
from autoloader_server.engine.sql import identifier

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.connect.readwriter import DataFrameReader
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import DataType, StructType


@dataclass(frozen=True, slots=True)
class Told:
    """What a file tells of itself: `shape` is equal for files of the same columns and types, in the same order."""

    shape: str
    columns: tuple[str, ...]
    nested: bool


class Described(ABC):
    """A format whose files tell their columns. Its options mean nothing."""

    spark_name: ClassVar[str]

    def __init__(self, options: dict[str, Any], place: Place = LOCAL) -> None:  # noqa: ARG002 - as each format is made
        self._place = place
        # Schemas as Spark reads them, by the shape.
        self._schemas: dict[str, StructType] = {}

    @abstractmethod
    def told(self, path: str, size: int) -> Told:
        """Read what a file tells of itself. Raises Unreadable with a sentence about the file, or OSError."""

    def look(self, files: Sequence[tuple[str, int]], known: StructType | None) -> Iterator[Look | FileFailure]:
        have = by_name(known) if known is not None else {}
        for path, size, tell in self._place.ahead(files, self.told):
            try:
                told = tell()
            except (Unreadable, OSError) as error:
                yield unopened(path, error)
                continue
            columns = told.columns
            twice = sorted({name for name in columns if [c.casefold() for c in columns].count(name.casefold()) > 1})
            if twice:
                message = f"it has columns that are the same but for case: {', '.join(map(repr, twice))}"
                yield FileFailure(path, SCHEMA_MISMATCH, message)
                continue
            unfamiliar = told.nested or any(column.casefold() not in have for column in columns)
            yield Look(path, size, told.shape, columns, checked=True, unfamiliar=unfamiliar, seen=not told.nested)

    def guess(self, files: Sequence[tuple[str, int]], known: StructType) -> list[Look] | None:  # noqa: ARG002 - a footer is quickly read
        return None

    def infer(self, spark: SparkSession, looks: Sequence[Look]) -> StructType:
        from pyspark.sql.types import StructType

        found = StructType([])
        for shape, members in Looks(list(looks)).groups().items():
            found = merge(found, self._schema(spark, str(shape), members[0].path))
        return found

    def wider(self, spark: SparkSession, looks: Sequence[Look], data: StructType) -> Iterator[tuple[str, Change]]:
        for shape, members in Looks(list(looks)).groups().items():
            needed = list(widenings(data, storable(self._schema(spark, str(shape), members[0].path))))
            yield from ((look.path, change) for look in members for change in needed)

    def absent(self, spark: SparkSession, files: Sequence[tuple[str, int]], data: StructType) -> set[Path]:
        looks = Looks.of(self.look(files, data))
        if looks.failures:
            return set()
        wanted = {tuple(name.casefold() for name in path): path for path in all_paths(data)}
        for shape, members in looks.groups().items():
            for path in all_paths(self._schema(spark, str(shape), members[0].path)):
                wanted.pop(tuple(name.casefold() for name in path), None)
        return set(wanted.values())

    def values(self, look: Look, record: str) -> Mapping[str, str | None]:  # noqa: ARG002 - no record of it is text
        return {}

    def misfits(self, spark: SparkSession, looks: Sequence[Look], data: StructType) -> list[FileFailure]:
        have = by_name(data)
        failures = []
        for shape, members in Looks(list(looks)).groups().items():
            for field in storable(self._schema(spark, str(shape), members[0].path)).fields:
                column = have.get(field.name.casefold())
                if column is not None and not widens(column.dataType, field.dataType):
                    message = (
                        f"its column {field.name!r} is {field.dataType.simpleString()}, "
                        f"the table's is {column.dataType.simpleString()}"
                    )
                    failures += [FileFailure(look.path, SCHEMA_MISMATCH, message) for look in members]
                    break
        return failures

    def read(
        self, spark: SparkSession, looks: Sequence[Look], data: StructType, *, keep_malformed: bool = False
    ) -> DataFrame:
        from pyspark.sql.connect import functions as F

        schema = self._schema(spark, str(looks[0].group), looks[0].path)
        frame = self._reader(spark).schema(schema).load([self._place.spark(look.path) for look in looks])
        have = by_name(schema)
        columns = [
            conform(F.col(identifier(have[name].name)), have[name].dataType, field.dataType).alias(field.name)
            if (name := field.name.casefold()) in have
            else F.lit(None).cast(field.dataType).alias(field.name)
            for field in data.fields
        ]
        corrupt = [F.lit(None).cast("string").alias(CORRUPT_COLUMN)] if keep_malformed else []
        return frame.select(*columns, shown_path(schema).alias(PATH_COLUMN), *corrupt)

    def _schema(self, spark: SparkSession, shape: str, path: str) -> StructType:
        if shape not in self._schemas:
            self._schemas[shape] = self._reader(spark).load(self._place.spark(path)).schema
        return self._schemas[shape]

    def _reader(self, spark: SparkSession) -> DataFrameReader:
        return spark.read.format(self.spark_name).options(**self._place.options)


def conform(column: Column, have: DataType, want: DataType) -> Column:
    """`column` in another type: casts that lose nothing, and null for the fields that it lacks, at any depth."""
    from pyspark.sql import types as T
    from pyspark.sql.connect import functions as F

    if have == want:
        return column
    match have, want:
        case T.StructType(), T.StructType():
            fields = by_name(have)
            parts = [
                conform(column.getField(fields[name].name), fields[name].dataType, field.dataType).alias(field.name)
                if (name := field.name.casefold()) in fields
                else F.lit(None).cast(field.dataType).alias(field.name)
                for field in want.fields
            ]
            return F.when(column.isNotNull(), F.struct(*parts))
        case T.ArrayType(), T.ArrayType():
            return F.transform(column, lambda item: conform(item, have.elementType, want.elementType))
        case T.MapType(), T.MapType():
            return F.transform_values(column, lambda _, value: conform(value, have.valueType, want.valueType))
        case _:
            return column.cast(want)
