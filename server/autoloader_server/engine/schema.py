"""Schemas as Spark has them: what two of them make together, and what one has that the other lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql.types import DataType, StructField, StructType

_INTEGRAL_DIGITS = {"tinyint": 3, "smallint": 5, "int": 10, "bigint": 20}


@dataclass(frozen=True, slots=True)
class NewField:
    """A column, or a field inside one: its path (`element` and `value` stand for what arrays and maps hold)."""

    path: tuple[str, ...]
    type: DataType

    @property
    def name(self) -> str:
        return ".".join(self.path)


def merge(left: StructType, right: StructType) -> StructType:
    """All fields of both, those of `left` first; a field that both have gets a type that holds the values of both."""
    from pyspark.sql.types import StructField, StructType

    fields: dict[str, StructField] = {field.name.casefold(): field for field in left.fields}
    for field in right.fields:
        key = field.name.casefold()
        before = fields.get(key)
        kind = field.dataType if before is None else merge_types(before.dataType, field.dataType)
        fields[key] = StructField(before.name if before else field.name, kind)
    return StructType(list(fields.values()))


def merge_types(left: DataType, right: DataType) -> DataType:
    """The narrowest type that holds the values of both without losing a digit; text where there is no other."""
    from pyspark.sql import types as T

    if left == right:
        return left
    match left, right:
        case (T.NullType(), other) | (other, T.NullType()):
            return other
        case T.StructType(), T.StructType():
            return merge(left, right)
        case T.ArrayType(), T.ArrayType():
            return T.ArrayType(merge_types(left.elementType, right.elementType))
        case T.MapType(), T.MapType():
            return T.MapType(merge_types(left.keyType, right.keyType), merge_types(left.valueType, right.valueType))
    numbers = _numbers(left, right)
    if numbers is not None:
        return numbers
    names = {left.typeName(), right.typeName()}
    if names <= {"date", "timestamp", "timestamp_ntz"}:
        return T.TimestampType() if "timestamp" in names else T.TimestampNTZType()
    return T.StringType()


def _numbers(left: DataType, right: DataType) -> DataType | None:
    from pyspark.sql import types as T

    sides = (left.simpleString(), right.simpleString())
    if all(side in _INTEGRAL_DIGITS for side in sides):
        return left if _INTEGRAL_DIGITS[sides[0]] >= _INTEGRAL_DIGITS[sides[1]] else right
    floating = {"float", "double"}
    if any(side in floating for side in sides):
        others = [side for side in sides if side not in floating]
        if any(_beyond_64_bits(kind) for kind in (left, right)):
            return None
        # As Spark's own inference: a column of integers and fractions is of doubles.
        return (
            T.DoubleType() if all(side in _INTEGRAL_DIGITS or side.startswith("decimal") for side in others) else None
        )
    decimals = [_decimal(kind) for kind in (left, right)]
    if None in decimals:
        return None
    (p1, s1), (p2, s2) = decimals  # type: ignore[misc]
    scale = max(s1, s2)
    precision = max(p1 - s1, p2 - s2) + scale
    return T.DecimalType(precision, scale) if precision <= 38 else T.StringType()


def _beyond_64_bits(kind: DataType) -> bool:
    """Integers that a double would round."""
    from pyspark.sql import types as T

    return isinstance(kind, T.DecimalType) and kind.scale == 0 and kind.precision > _INTEGRAL_DIGITS["bigint"] - 1


def _decimal(kind: DataType) -> tuple[int, int] | None:
    from pyspark.sql import types as T

    if isinstance(kind, T.DecimalType):
        return kind.precision, kind.scale
    digits = _INTEGRAL_DIGITS.get(kind.simpleString())
    return (digits, 0) if digits is not None else None


def new_fields(have: DataType, seen: DataType, path: tuple[str, ...] = ()) -> Iterator[NewField]:
    """What `seen` has and `have` lacks, also inside structs, arrays and maps. Names are compared without case."""
    from pyspark.sql import types as T

    match have, seen:
        case T.StructType(), T.StructType():
            known = {field.name.casefold(): field for field in have.fields}
            for field in seen.fields:
                before = known.get(field.name.casefold())
                if before is None:
                    yield NewField((*path, field.name), field.dataType)
                else:
                    yield from new_fields(before.dataType, field.dataType, (*path, before.name))
        case T.ArrayType(), T.ArrayType():
            yield from new_fields(have.elementType, seen.elementType, (*path, "element"))
        case T.MapType(), T.MapType():
            yield from new_fields(have.valueType, seen.valueType, (*path, "value"))


def widens(have: DataType, seen: DataType) -> bool:
    """Whether every value of type `seen` fits into a column of type `have` as it is."""
    from pyspark.sql import types as T

    match have, seen:
        case _ if have == seen:
            return True
        case T.StructType(), T.StructType():
            known = {field.name.casefold(): field.dataType for field in have.fields}
            return all(
                field.name.casefold() not in known or widens(known[field.name.casefold()], field.dataType)
                for field in seen.fields
            )
        case T.ArrayType(), T.ArrayType():
            return widens(have.elementType, seen.elementType)
        case T.MapType(), T.MapType():
            return widens(have.keyType, seen.keyType) and widens(have.valueType, seen.valueType)
        case T.DoubleType(), _:
            return seen.simpleString() in {"float", "int", "smallint", "tinyint"}
        case T.FloatType(), _:
            return seen.simpleString() in {"smallint", "tinyint"}
    numbers = _numbers(have, seen)
    return numbers is not None and numbers == have


def as_text(schema: StructType, path: tuple[str, ...]) -> StructType:
    """The same columns, that at `path` (as in `NewField`) as text."""
    from pyspark.sql import types as T

    def changed(kind: Any, rest: tuple[str, ...]) -> Any:
        if not rest:
            return T.StringType()
        match kind:
            case T.StructType():
                return T.StructType(
                    [
                        T.StructField(f.name, changed(f.dataType, rest[1:]) if f.name == rest[0] else f.dataType)
                        for f in kind.fields
                    ]
                )
            case T.ArrayType():
                return T.ArrayType(changed(kind.elementType, rest[1:]))
            case T.MapType():
                return T.MapType(kind.keyType, changed(kind.valueType, rest[1:]))
            case _:
                return kind

    result: StructType = changed(schema, path)
    return result


def case_variants(have: DataType, seen: DataType, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Fields of `seen` that `have` has under a name of another case: Spark reads them as null, without an error."""
    from pyspark.sql import types as T

    match have, seen:
        case T.StructType(), T.StructType():
            exact = {field.name: field.dataType for field in have.fields}
            folded = {name.casefold() for name in exact}
            for field in seen.fields:
                here = (*path, field.name)
                if field.name in exact:
                    yield from case_variants(exact[field.name], field.dataType, here)
                elif field.name.casefold() in folded:
                    yield here
        case T.ArrayType(), T.ArrayType():
            yield from case_variants(have.elementType, seen.elementType, (*path, "element"))
        case T.MapType(), T.MapType():
            yield from case_variants(have.valueType, seen.valueType, (*path, "value"))


def storable(schema: StructType) -> StructType:
    """The same columns in types that Iceberg has: it knows no 8- and 16-bit integers.

    Whether a column may be null and its comment stay; other metadata has no place, and items of arrays and maps may
    be null.
    """
    from pyspark.sql.types import StructField, StructType

    return StructType(
        [
            StructField(
                field.name,
                _storable(field.dataType),
                field.nullable,
                None if (comment := comment_of(field)) is None else {"comment": comment},
            )
            for field in schema.fields
        ]
    )


def comment_of(field: StructField) -> str | None:
    """What is said of a column, where Spark keeps it."""
    comment = (field.metadata or {}).get("comment")
    return comment if isinstance(comment, str) else None


def _storable(kind: Any) -> Any:
    from pyspark.sql import types as T

    match kind:
        case T.StructType():
            return storable(kind)
        case T.ArrayType():
            return T.ArrayType(_storable(kind.elementType))
        case T.MapType():
            return T.MapType(_storable(kind.keyType), _storable(kind.valueType))
        case T.ByteType() | T.ShortType():
            return T.IntegerType()
        case T.NullType() | T.CharType() | T.VarcharType():
            return T.StringType()
        case _:
            return kind


def without(schema: StructType, names: Collection[str]) -> StructType:
    """The columns that come from the files: all but the lineage columns."""
    from pyspark.sql.types import StructType

    return StructType([field for field in schema.fields if field.name not in names])
