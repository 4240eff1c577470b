"""What `list()` returns: a list that shows itself as a table in a notebook."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from autoloader_sdk.errors import MissingExtra
from autoloader_sdk.notebook import display

if TYPE_CHECKING:
    from pandas import DataFrame
    from pydantic import BaseModel

T = TypeVar("T")


class Listing(list[T]):
    """A plain list of records."""

    def to_pandas(self) -> DataFrame:
        """The records as a pandas DataFrame, one column a field; times in UTC.

            >>> list(client.ingestions.list().to_pandas()[["name", "destination.table"]].iloc[0])
            ['flights', 'flights']

        Raises:
            MissingExtra: pandas is not installed.
        """
        return frame_of(getattr(record, "data", record) for record in self)

    def __repr__(self) -> str:
        if len(self) <= display.SHOWN_ROWS:
            return super().__repr__()
        first = ", ".join(repr(record) for record in self[: display.SHOWN_ROWS])
        return f"[{first}, … and {len(self) - display.SHOWN_ROWS:,} more]"

    def _repr_html_(self) -> str:
        return display.listing_html(self)


def frame_of(datas: Iterable[Any], model: type[BaseModel] | None = None) -> DataFrame:
    """What answers say as a pandas DataFrame; what is within a field (`source`, `metrics`) is `source.path` and so on.

    Without any answer it has the columns of the `model`, if one is given.

    Raises:
        MissingExtra: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as missing:
        raise MissingExtra("to_pandas()", "notebook") from missing
    rows = [data.model_dump(by_alias=True) for data in datas]
    return pd.json_normalize(rows) if rows or model is None else pd.DataFrame(columns=list(model.model_fields))
