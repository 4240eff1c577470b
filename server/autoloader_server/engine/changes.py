"""What changes a table's columns: fields that are added, types that are widened, fields that go."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from autoloader_server.engine.schema import merge_types, new_fields, widens

if TYPE_CHECKING:
    from pyspark.sql.types import DataType, StructType

Path = tuple[str, ...]
ADDED = "NEW_COLUMN"
REMOVED = "REMOVED_COLUMN"
RETYPED = "TYPE_CHANGE"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a column or of a field inside one; `old` is None for a new one, `new` for one that goes.

    In the path `element` and `value` stand for what arrays and maps hold. `files` brought it.
    """

    path: Path
    old: DataType | None
    new: DataType | None
    files: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def kind(self) -> str:
        return ADDED if self.old is None else REMOVED if self.new is None else RETYPED

    def __str__(self) -> str:
        old, new = (None if kind is None else kind.simpleString() for kind in (self.old, self.new))
        match self.kind:
            case "NEW_COLUMN":
                return f"{self.name!r} ({new})"
            case "REMOVED_COLUMN":
                return f"{self.name!r} ({old})"
        return f"{self.name!r} ({old} → {new})"


def additions(have: DataType, seen: DataType) -> list[Change]:
    """What `seen` has and `have` lacks, at any depth."""
    return [Change(field.path, None, field.type) for field in new_fields(have, seen)]


def widenings(have: DataType, seen: DataType, path: Path = ()) -> Iterator[Change]:
    """The fields that Iceberg can widen so that they hold what `seen` has; what cannot be widened is left out."""
    from pyspark.sql import types as T

    match have, seen:
        case T.StructType(), T.StructType():
            other = {field.name.casefold(): field.dataType for field in seen.fields}
            for field in have.fields:
                if field.name.casefold() in other:
                    yield from widenings(field.dataType, other[field.name.casefold()], (*path, field.name))
        case T.ArrayType(), T.ArrayType():
            yield from widenings(have.elementType, seen.elementType, (*path, "element"))
        case T.MapType(), T.MapType():
            yield from widenings(have.valueType, seen.valueType, (*path, "value"))
        case _:
            wider = wider_type(have, seen)
            if wider is not None:
                yield Change(path, have, wider)


def wider_type(have: DataType, seen: DataType) -> DataType | None:
    """What Iceberg lets a column of type `have` become so that it holds `seen` too; None where it need not, or cannot.

    Iceberg widens int to bigint, float to double, and the precision of a decimal, nothing else.
    """
    from pyspark.sql import types as T

    if widens(have, seen):
        return None
    match have:
        case T.IntegerType() if isinstance(seen, T.LongType):
            return seen
        case T.FloatType() if widens(T.DoubleType(), seen):
            return T.DoubleType()
        case T.DecimalType():
            both = merge_types(have, seen)
            if isinstance(both, T.DecimalType) and both.scale == have.scale and both.precision > have.precision:
                return both
    return None


def widened(schema: StructType, changes: Iterable[Change]) -> StructType:
    """The same columns, wide enough for what each of these changes asks for, as far as Iceberg can."""
    for change in changes:
        now = type_at(schema, change.path)
        wider = None if now is None or change.new is None else wider_type(now, change.new)
        if wider is not None:
            schema = applied(schema, [Change(change.path, now, wider)])
    return schema


def type_at(kind: DataType, path: Path) -> DataType | None:
    """The type of a field by its path; None where there is no such field."""
    from pyspark.sql import types as T

    if not path:
        return kind
    match kind:
        case T.StructType():
            found = next((field for field in kind.fields if field.name.casefold() == path[0].casefold()), None)
            return None if found is None else type_at(found.dataType, path[1:])
        case T.ArrayType():
            return type_at(kind.elementType, path[1:])
        case T.MapType():
            return type_at(kind.valueType, path[1:])
    return None


def applied(schema: StructType, changes: Iterable[Change]) -> StructType:
    """The schema after these changes; new fields come last."""
    for change in changes:
        schema = _changed(schema, change.path, change.new)
    return schema


def _changed(kind: Any, path: Path, new: DataType | None) -> Any:
    """`kind` with the field at `path` of type `new`, or without it."""
    from pyspark.sql import types as T

    if not path:
        return new
    match kind:
        case T.StructType():
            fields = []
            found = False
            for field in kind.fields:
                if field.name.casefold() != path[0].casefold():
                    fields.append(field)
                    continue
                found = True
                inner = _changed(field.dataType, path[1:], new)
                if inner is not None:
                    fields.append(T.StructField(field.name, inner, field.nullable, field.metadata))
            if not found and new is not None and len(path) == 1:
                fields.append(T.StructField(path[0], new))
            return T.StructType(fields)
        case T.ArrayType():
            return T.ArrayType(_changed(kind.elementType, path[1:], new))
        case T.MapType():
            return T.MapType(kind.keyType, _changed(kind.valueType, path[1:], new))
    return kind


def all_paths(kind: DataType, path: Path = ()) -> Iterator[Path]:
    """Every field's path, those of structs before those within them."""
    from pyspark.sql import types as T

    match kind:
        case T.StructType():
            for field in kind.fields:
                yield (*path, field.name)
                yield from all_paths(field.dataType, (*path, field.name))
        case T.ArrayType():
            yield from all_paths(kind.elementType, (*path, "element"))
        case T.MapType():
            yield from all_paths(kind.valueType, (*path, "value"))


def removals(schema: StructType, absent: Collection[Path], kept: Collection[str]) -> list[Change]:
    """What goes where no file has the fields `absent`: of a struct that goes only itself, and of one never all.

    `kept` are columns that stay, whatever is within them too.
    """
    gone = {path for path in absent if path[0] not in kept}
    everything = list(all_paths(schema))
    for parent in {path[:-1] for path in gone}:
        if parent not in gone and all(path in gone for path in everything if path[:-1] == parent):
            gone -= {path for path in gone if path[: len(parent)] == parent}
    tops = [path for path in everything if path in gone and not any(path[:n] in gone for n in range(1, len(path)))]
    return [Change(path, type_at(schema, path), None) for path in tops]


def brought_by(change: Change, files: Iterable[str]) -> Change:
    return replace(change, files=tuple(files))
