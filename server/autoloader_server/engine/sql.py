"""Values and names of tables as SQL; each name is quoted by the SDK's `identifier`."""

from __future__ import annotations

from dataclasses import dataclass

from autoloader_sdk.models import Destination
from autoloader_sdk.spark import identifier

__all__ = ["TableName", "identifier", "literal"]


def literal(text: str) -> str:
    """A string as Spark SQL takes it, which would put the value of a setting in the place of `${its.name}`."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("$", "\\u0024") + "'"


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
