"""Which of a table's fields no JSON file has: a field that is there with null is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from autoloader_server.engine.changes import Path

_VALUE: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def values_of(text: bytes) -> Iterator[Any]:
    """The values of strict JSON, one a line. Raises msgspec.DecodeError."""
    for line in text.splitlines():
        if line.strip():
            yield _VALUE.decode(line)


def strike(value: Any, kind: Any, path: Path, wanted: set[Path]) -> None:
    """Take the fields that `value` has out of `wanted`."""
    from pyspark.sql import types as T

    match kind, value:
        case T.StructType(), dict():
            for field in kind.fields:
                if field.name in value:
                    here = (*path, field.name)
                    wanted.discard(here)
                    strike(value[field.name], field.dataType, here, wanted)
        case T.ArrayType(), list():
            for inner in value:
                strike(inner, kind.elementType, (*path, "element"), wanted)
        case T.MapType(), dict():
            for inner in value.values():
                strike(inner, kind.valueType, (*path, "value"), wanted)
