"""Parquet: the footer of each file is read here, and tells its columns and types exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autoloader_server.engine.changes import Change, Path, all_paths, widenings
from autoloader_server.engine.errors import DATA_MALFORMED, SCHEMA_MISMATCH, FileFailure
from autoloader_server.engine.formats.base import (
    CORRUPT_COLUMN,
    PATH_COLUMN,
    Look,
    Looks,
    by_name,
    shown_path,
    unopened,
)
from autoloader_server.engine.place import LOCAL, Place
from autoloader_server.engine.schema import merge, storable, widens
from autoloader_server.engine.sql import identifier

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import DataType, StructType


class Parquet:
    """Parquet; its options mean nothing."""

    def __init__(self, options: dict[str, Any], place: Place = LOCAL) -> None:  # noqa: ARG002 - as each format is made
        self._place = place
        # Schemas as Spark reads them, by the schema in the footer.
        self._schemas: dict[str, StructType] = {}

    def look(self, files: Sequence[tuple[str, int]], known: StructType | None) -> Iterator[Look | FileFailure]:
        import pyarrow as pa

        have = by_name(known) if known is not None else {}
        for path, size, footer in self._place.ahead(files, self._footer):
            try:
                schema = footer()
            except (pa.ArrowException, OSError) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    yield unopened(path, error)
                    continue
                message = f"it is not a whole Parquet file: {str(error).splitlines()[0]}"
                yield FileFailure(path, DATA_MALFORMED, message)
                continue
            columns = tuple(schema.names)
            twice = sorted({name for name in columns if [c.casefold() for c in columns].count(name.casefold()) > 1})
            if twice:
                message = f"it has columns that are the same but for case: {', '.join(map(repr, twice))}"
                yield FileFailure(path, SCHEMA_MISMATCH, message)
                continue
            shape = schema.remove_metadata().to_string()
            nested = any(pa.types.is_nested(kind) for kind in schema.types)
            unfamiliar = nested or any(column.casefold() not in have for column in columns)
            yield Look(path, size, shape, columns, checked=True, unfamiliar=unfamiliar, seen=not nested)

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
        frame = (
            spark.read.options(**self._place.options)
            .schema(schema)
            .parquet(*[self._place.spark(look.path) for look in looks])
        )
        have = by_name(schema)
        columns = [
            conform(F.col(identifier(have[name].name)), have[name].dataType, field.dataType).alias(field.name)
            if (name := field.name.casefold()) in have
            else F.lit(None).cast(field.dataType).alias(field.name)
            for field in data.fields
        ]
        corrupt = [F.lit(None).cast("string").alias(CORRUPT_COLUMN)] if keep_malformed else []
        return frame.select(*columns, shown_path(schema).alias(PATH_COLUMN), *corrupt)

    def _footer(self, path: str, size: int) -> pa.Schema:  # noqa: ARG002 - as `ahead` calls it
        import pyarrow.parquet as pq

        with self._place.store.open_seekable(path) as file:
            return pq.read_schema(file)

    def _schema(self, spark: SparkSession, shape: str, path: str) -> StructType:
        if shape not in self._schemas:
            self._schemas[shape] = spark.read.options(**self._place.options).parquet(self._place.spark(path)).schema
        return self._schemas[shape]


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
