"""Keyset paging: a page ends with a cursor, the last row's key, so that no row is lost or told twice."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Generic, TypeVar

from autoloader_server.services.errors import Fault, Invalid

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows, and the cursor of the next page where there is one."""

    items: list[T]
    next_cursor: str | None = None


def cursor_of(*key: str | float) -> str:
    """An opaque cursor for the row with this key."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def key_of(cursor: str, *kinds: type) -> list[str | int]:
    """The key in a cursor; raises Invalid where it is none of ours."""
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        key = None
    if not isinstance(key, list) or [type(part) for part in key] != list(kinds):
        raise bad_cursor()
    return key


def bad_cursor() -> Invalid:
    """The refusal of a cursor that is none of ours."""
    return Invalid([Fault(("query", "cursor"), "this is not a cursor of ours: take it from the Link header")])
