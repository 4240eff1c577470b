"""Values, names of tables, columns and types as SQL; each name is quoted by the SDK's `identifier`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoloader_sdk.models import Destination
from autoloader_sdk.spark import identifier
from autoloader_server.engine.schema import comment_of

if TYPE_CHECKING:
    from pyspark.sql.types import StructField

__all__ = ["TableName", "column_sql", "identifier", "literal", "path_sql", "type_sql"]


def literal(text: str) -> str:
    """A string as Spark SQL takes it, which would put the value of a setting in the place of `${its.name}`."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("$", "\\u0024") + "'"


def path_sql(path: Sequence[str]) -> str:
    """A column, or a field inside of one."""
    return ".".join(map(identifier, path))


def column_sql(field: StructField, between: str = " ") -> str:
    """A column, or with `between` a colon a struct's field, as it is declared: whether it may be null, its comment."""
    null = "" if field.nullable else " NOT NULL"
    comment = comment_of(field)
    said = "" if comment is None else f" COMMENT {literal(comment)}"
    return f"{identifier(field.name)}{between}{type_sql(field.dataType)}{null}{said}"


def type_sql(kind: Any) -> str:
    """A type with its field names quoted (`simpleString` quotes none). Items of arrays and maps may be null in SQL."""
    from pyspark.sql import types as T

    if isinstance(kind, T.StructType):
        return "STRUCT<" + ", ".join(column_sql(field, ": ") for field in kind.fields) + ">"
    if isinstance(kind, T.ArrayType):
        return f"ARRAY<{type_sql(kind.elementType)}>"
    if isinstance(kind, T.MapType):
        return f"MAP<{type_sql(kind.keyType)}, {type_sql(kind.valueType)}>"
    return str(kind.simpleString())


@dataclass(frozen=True, slots=True)
class TableName:
    """A table in a catalog."""

    catalog: str
    database: str
    table: str

    @classmethod
    def of(cls, destination: Destination) -> TableName:
        return cls(destination.catalog, destination.database, destination.table)

    @property
    def quoted(self) -> str:
        return f"{identifier(self.catalog)}.{self.in_catalog}"

    @property
    def in_catalog(self) -> str:
        """Without the catalog, as the procedures of a catalog take it."""
        return f"{identifier(self.database)}.{identifier(self.table)}"

    @property
    def namespace(self) -> str:
        return f"{identifier(self.catalog)}.{identifier(self.database)}"

    def __str__(self) -> str:
        return f"{self.catalog}.{self.database}.{self.table}"
