"""Columns that may not be null (NOT NULL): given so in a schema, or made so by somebody else.

Spark reads every column of a file as one that may be null, and refuses the whole write for one that is. So a record
is held against them wherever records are: `culprits` counts those that lack a value, each format's `sifted` marks them,
`sift` says why, and does not rescue them, `preview` looks for them; and where all this is passed by, Spark's own
refusal of the write is known by its words (`explain.about_files`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column
    from pyspark.sql.types import DataType, StructType

_Lacks = Callable[["Column"], "Column"]


def demands(data: StructType, column: Callable[[str], Column]) -> list[tuple[str, Column]]:
    """What may not be null, at any depth: its name (`a.b` within a column), and whether a row has no value there.

    `column` gives a row's column by its name.
    """
    return [
        (".".join((field.name, *path)), lacks(column(field.name)))
        for field in data.fields
        for path, lacks in _rules(field.dataType, nullable=field.nullable)
    ]


def any_lacking(data: StructType, column: Callable[[str], Column]) -> Column | None:
    """Whether a row lacks a value that it must have; None where there is none that it must."""
    found = [lacks for _, lacks in demands(data, column)]
    return reduce(or_, found) if found else None


def no_value(name: str) -> str:
    """What is wrong with a record that lacks one."""
    return f"{name!r} has no value, and its column may not be null"


def _rules(kind: DataType, *, nullable: bool) -> Iterator[tuple[tuple[str, ...], _Lacks]]:
    """For a value of this type: what in it may not be null, and how that is seen. Of null itself no rule is broken."""
    from pyspark.sql import types as T
    from pyspark.sql.connect import functions as F

    if not nullable:
        yield (), lambda value: value.isNull()
    match kind:
        case T.StructType():
            for field in kind.fields:
                for path, lacks in _rules(field.dataType, nullable=field.nullable):
                    yield (field.name, *path), _in_field(field.name, lacks)
        case T.ArrayType():
            for path, lacks in _rules(kind.elementType, nullable=kind.containsNull):
                yield ("element", *path), _in_any(lacks, lambda value: value)
        case T.MapType():
            for path, lacks in _rules(kind.valueType, nullable=kind.valueContainsNull):
                yield ("value", *path), _in_any(lacks, F.map_values)


def _in_field(name: str, lacks: _Lacks) -> _Lacks:
    return lambda value: value.isNotNull() & lacks(value.getField(name))


def _in_any(lacks: _Lacks, items: _Lacks) -> _Lacks:
    from pyspark.sql.connect import functions as F

    return lambda value: F.coalesce(F.exists(items(value), lacks), F.lit(False))
