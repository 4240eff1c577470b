"""What every format module gives the engine."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from autoloader_server.engine.errors import FileFailure

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import StructType

# Spark puts malformed records into a column of this name; a data column may well be called `_corrupt_record`.
CORRUPT_COLUMN = "_autoloader_corrupt_9f1c"
# What Spark infers a schema from, where not from everything.
SAMPLE_FILES = 20


@dataclass(frozen=True, slots=True)
class Look:
    """What the worker saw in one file before Spark reads it.

    Files with an equal `group` are read by one Spark read. `unfamiliar`: it may hold a column or a type that the table
    does not have. `columns`: the names it holds, where the file tells them (a header, a footer, unknown JSON fields).
    """

    path: str
    size: int
    group: Hashable
    columns: tuple[str, ...] = ()
    unfamiliar: bool = False


@dataclass(slots=True)
class Looks:
    """All files of a batch to be: those that can be read, and those that cannot, with the reason."""

    good: list[Look] = field(default_factory=list)
    failures: list[FileFailure] = field(default_factory=list)

    def groups(self) -> dict[Hashable, list[Look]]:
        found: dict[Hashable, list[Look]] = {}
        for look in self.good:
            found.setdefault(look.group, []).append(look)
        return found


class Format(Protocol):
    """One format with an ingestion's options."""

    def look(self, files: Sequence[tuple[str, int]], known: StructType | None) -> Looks:
        """Look into local files (path, size). `known` are the table's data columns, None before there is a table."""
        ...

    def infer(self, spark: SparkSession, looks: Sequence[Look]) -> StructType:
        """The columns of these files, as Spark would have them."""
        ...

    def misfits(self, spark: SparkSession, looks: Sequence[Look], data: StructType) -> list[FileFailure]:
        """The files that cannot go into these columns, where that shows before they are read."""
        ...

    def read(
        self, spark: SparkSession, looks: Sequence[Look], data: StructType, *, keep_malformed: bool = False
    ) -> DataFrame:
        """The rows of files of one group, in the columns of `data`, each under its name.

        A malformed record fails the read; with `keep_malformed` it is in `CORRUPT_COLUMN`, where the format can tell.
        """
        ...


def spread(looks: Sequence[Look], most: int = SAMPLE_FILES) -> list[Look]:
    """At most `most` of them: the first, the last, and evenly between."""
    if len(looks) <= most:
        return list(looks)
    step = (len(looks) - 1) / (most - 1)
    return [looks[round(position * step)] for position in range(most)]


def by_name(data: StructType) -> dict[str, Any]:
    """Fields by their names without regard to case, as Spark and Iceberg compare them."""
    return {field.name.casefold(): field for field in data.fields}


def spark_options(options: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    """The ingestion's options under Spark's names."""
    return {
        names[key]: str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in options.items()
        if key in names
    }
