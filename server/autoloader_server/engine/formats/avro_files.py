"""Avro: the header of each file tells its columns."""

from __future__ import annotations

import json
from typing import Any, Final

from autoloader_server.engine.formats.avro_blocks import schema_of_whole
from autoloader_server.engine.formats.described import Described, Told
from autoloader_server.engine.formats.text import Unreadable

_SIMPLE: Final = {"null", "boolean", "int", "long", "float", "double", "bytes", "string", "fixed", "enum"}


class Avro(Described):
    """Avro object container files."""

    spark_name = "avro"

    def told(self, path: str, size: int) -> Told:
        with self._place.content(path, size)() as file:
            shape = schema_of_whole(file)
        try:
            fields = json.loads(shape)["fields"]
            columns = tuple(str(field["name"]) for field in fields)
            nested = any(_is_nested(field["type"]) for field in fields)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise Unreadable("its Avro schema is no record with fields: only records become rows") from error
        return Told(shape, columns, nested)


def _is_nested(kind: Any) -> bool:
    """Whether an Avro type has, or may have, fields within; a type by its name was defined before."""
    match kind:
        case str():
            return kind not in _SIMPLE
        case list():
            return any(_is_nested(one) for one in kind)
        case dict():
            return _is_nested(kind["type"])
    return True
