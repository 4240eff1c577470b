"""What `list()` returns: a list that shows itself as a table in a notebook."""

from __future__ import annotations

from typing import TypeVar

from autoloader_sdk.notebook import display

T = TypeVar("T")


class Listing(list[T]):
    """A plain list of records."""

    def _repr_html_(self) -> str:
        return display.listing_html(self)
