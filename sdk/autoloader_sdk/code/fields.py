"""The fields of an ingestion as the contract's models declare them: their order, and which hold text."""

from __future__ import annotations

import types
from collections.abc import Mapping
from datetime import date, datetime
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from autoloader_sdk.models import IngestionCreate

# What may be written for short, as one text.
SHORT = ("source", "format", "destination", "schedule")
CREDENTIALS = ("source", "credentials")
#: A leaf, although it is a mapping: a Spark type as it stands.
COLUMNS = "format.schema.schema_json"


def wants_text(path: tuple[str, ...]) -> bool:
    """Whether a field holds text alone (a time is text, too)."""
    if path[:2] == CREDENTIALS:
        return True
    return (len(path) == 1 and path[0] in SHORT) or _all_text(_at(path))


def known(value: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[str, Any]:
    """What an answer says of the contract's own fields, in their order; null says nothing."""
    found: dict[str, Any] = {}
    for name in _names(_at(path)):
        below = value.get(name)
        here = (*path, name)
        if isinstance(below, Mapping) and _names(_at(here)):
            found[name] = known(below, here)
        elif below is not None:
            found[name] = below
    return found


def position(path: str) -> list[int]:
    """Sorts dotted paths in the order of the contract."""
    parts = tuple(path.split("."))
    names = [_names(_at(parts[:end])) for end in range(len(parts))]
    return [
        among.index(part) if part in among else len(among) for among, part in zip(names, parts, strict=True) if among
    ]


@cache
def _at(path: tuple[str, ...]) -> tuple[Any, ...]:
    """The types that a field may have, null left out; none for what no model declares."""
    kinds: tuple[Any, ...] = (IngestionCreate,)
    for part in path:
        kinds = tuple(plain for kind in kinds for below in _below(kind, part) for plain in _plain(below))
    return kinds


def _below(kind: Any, part: str) -> list[Any]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [field.annotation for name, field in kind.model_fields.items() if part == (field.alias or name)]
    return list(get_args(kind)) if get_origin(kind) is list and part.isdigit() else []


def _plain(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _plain(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [plain for each in get_args(annotation) for plain in _plain(each)]
    return [] if annotation is types.NoneType else [annotation]


def _all_text(kinds: tuple[Any, ...]) -> bool:
    return bool(kinds) and all(
        kind in (str, date, datetime)
        or (get_origin(kind) is Literal and all(isinstance(one, str) for one in get_args(kind)))
        for kind in kinds
    )


def _names(kinds: tuple[Any, ...]) -> list[str]:
    return [
        field.alias or name
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, BaseModel)
        for name, field in kind.model_fields.items()
    ]
