"""What every format module gives the engine."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, TypeVar, runtime_checkable

from autoloader_sdk.discovery.heads import LINE_ENDS
from autoloader_server.engine.changes import Change, Path
from autoloader_server.engine.errors import AUTH, CONNECTIVITY, DATA_MALFORMED, MISSING, FileFailure
from autoloader_server.engine.formats.text import Unreadable

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import DataType, StructType

# Spark puts malformed records into a column of this name; a data column may well be called `_corrupt_record`.
CORRUPT_COLUMN = "_autoloader_corrupt_9f1c"
# A row's file, as Spark shows it, under a name that no data has.
PATH_COLUMN = "_autoloader_path_9f1c"
# What Spark infers a schema from, where not from everything.
SAMPLE_FILES = 20
# How a batch is to be read, while it is looked through.
_GUESSED_FROM = 8
_GUESSED_BYTES = 16 * 2**20
# What Spark takes for the end of a line by itself.
_Each = TypeVar("_Each")


@dataclass(frozen=True, slots=True)
class Strange:
    """Something that Spark would read into the table's columns wrongly, without an error.

    unknown   a field that the columns lack (one that is only null, {} or [] is none)
    case      the same, but for the case of its name
    twice     a field that is there more than once in one object: only its last value would be read
    digits    an integer of more than 64 bits for a double, or a number beyond the largest double
    fraction  more digits after the point than the decimal has
    wider     a number that the column cannot hold; one of type `needs` could. `value` is one such number
    """

    path: tuple[str, ...]
    kind: Literal["unknown", "case", "twice", "digits", "fraction", "wider"]
    needs: DataType | None = None
    value: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that is not loaded as the others of its file: where it is, its text, and why.

    `line` counts from 1, and is None where it cannot be told. `digest` is of its bytes as Spark has them. `whole`: no
    value of it can be taken, else those that fit.
    """

    line: int | None
    text: str
    reason: str
    digest: str
    whole: bool = False


def digest(record: bytes) -> str:
    """What tells a record from all others, as Spark's `sha2` gives it."""
    return hashlib.sha256(record).hexdigest()


@dataclass(frozen=True, slots=True)
class Look:
    """What the worker saw in one file before Spark reads it.

    Files with an equal `group` are read by one Spark read. `columns`: the names it holds, where the file tells them (a
    header, a footer). `checked`: it was held against the table's columns. `unfamiliar`: it has something beyond them,
    or other types; `strange` is what; with `seen` no other column is in it than `columns` and `strange` tell.
    `refused`: why it fails, unless its bad records are told from the good ones; then `bad` are these. `exact`: a value
    in it looked wrong and may be right, so it is read record by record.
    """

    path: str
    size: int
    group: Hashable
    columns: tuple[str, ...] = ()
    checked: bool = False
    unfamiliar: bool = False
    strange: tuple[Strange, ...] = ()
    seen: bool = True
    refused: FileFailure | None = None
    bad: tuple[BadRecord, ...] = ()
    exact: bool = False

    @property
    def by_records(self) -> bool:
        """Whether it is read as `Sifting.sifted` does."""
        return self.exact or bool(self.bad)

    @property
    def suspect(self) -> bool:
        """Something in it is of another type than its column; whether Spark can read it Spark alone knows."""
        told = self.strange or self.columns or self.refused
        return self.unfamiliar and self.seen and not told

    def new_columns(self, have: Collection[str]) -> list[str]:
        """Names in it that the table lacks; `have` are the table's, case-folded. A field within another as `a.b`."""
        unknown = [one.name for one in self.strange if one.kind == "unknown"]
        return [name for name in self.columns if name.casefold() not in have] + unknown


@dataclass(slots=True)
class Looks:
    """All files of a batch to be: those that can be read, and those that cannot, with the reason."""

    good: list[Look] = field(default_factory=list)
    failures: list[FileFailure] = field(default_factory=list)

    @classmethod
    def of(cls, found: Iterable[Look | FileFailure]) -> Self:
        looks = cls()
        for one in found:
            if isinstance(one, Look):
                looks.good.append(one)
            else:
                looks.failures.append(one)
        return looks

    def groups(self) -> dict[Hashable, list[Look]]:
        found: dict[Hashable, list[Look]] = {}
        for look in self.good:
            found.setdefault(look.group, []).append(look)
        return found


class Format(Protocol):
    """One format with an ingestion's options."""

    def look(self, files: Sequence[tuple[str, int]], known: StructType | None) -> Iterator[Look | FileFailure]:
        """Look into files (path, size), one after the other, without Spark.

        `known` are the table's data columns, None before there is a table.
        """
        ...

    def guess(self, files: Sequence[tuple[str, int]], known: StructType) -> list[Look] | None:
        """How `look` will find these files, from a sample of them; None where that is open, or as quick as looking."""
        ...

    def infer(self, spark: SparkSession, looks: Sequence[Look]) -> StructType:
        """The columns of these files, as Spark would have them.

        What `bad` records alone have is left out, where a record need not have every column.
        """
        ...

    def wider(self, spark: SparkSession, looks: Sequence[Look], data: StructType) -> Iterator[tuple[str, Change]]:
        """What types the columns would need for these files, by file, where that shows before they are read."""
        ...

    def absent(self, spark: SparkSession, files: Sequence[tuple[str, int]], data: StructType) -> set[Path]:
        """The fields of `data`, at any depth, that none of these files has; none where that cannot be told."""
        ...

    def values(self, look: Look, record: str) -> Mapping[str, str | None]:
        """What a record of this file has, as text, by the names of its columns; nothing where that cannot be told."""
        ...

    def misfits(self, spark: SparkSession, looks: Sequence[Look], data: StructType) -> list[FileFailure]:
        """The files that cannot go into these columns, where that shows before they are read.

        The files were looked into with these columns as `known`.
        """
        ...

    def read(
        self, spark: SparkSession, looks: Sequence[Look], data: StructType, *, keep_malformed: bool = False
    ) -> DataFrame:
        """The rows of files of one group, in the columns of `data`, each under its name.

        A malformed record fails the read; with `keep_malformed` it is in `CORRUPT_COLUMN`, where the format can tell.
        The latter may be another way of reading, which takes more time and is exact: what the quick one takes, it takes
        with the same values. That a column may not be null is not looked at.
        """
        ...


@runtime_checkable
class Sifting(Format, Protocol):
    """A format whose records are told apart, so that a bad one need not fail its file (`engine/sift.py`).

    Its `look` gives a file whose records cannot all be read as a Look that is `refused`. `reads_hastily`: `read` may
    refuse a value that `sifted` finds right.
    """

    reads_hastily: ClassVar[bool]

    def has_records(self, look: Look) -> bool:
        """Whether this file's records can be told apart."""
        ...

    def garbled(self, look: Look, data: StructType | None) -> Iterator[BadRecord]:
        """The records of which Spark would read something else than they hold, without an error.

        `data` is None before there are columns. Raises Unreadable where the file's records cannot be told apart after
        all, or OSError.
        """
        ...

    def sifted(self, spark: SparkSession, looks: Sequence[Look], data: StructType, *, all_known: bool) -> DataFrame:
        """As `read`, with the text of each bad record in `CORRUPT_COLUMN`, and null where a value of it does not fit.

        Bad are those that the looks know, what Spark finds malformed, and what lacks a value in a column that may not
        be null; with `all_known`, what the looks do not know fails the read.
        """
        ...

    def out_of_shape(self, look: Look, record: str) -> str | None:
        """What is wrong with a malformed record but for its values, if that can be told."""
        ...

    def lines(self, look: Look) -> Iterator[str]:
        """The lines of the file, without their ends. What cannot be decoded is shown in some way.

        Raises Unreadable or OSError.
        """
        ...


def may_be_right(fmt: Format, look: Look) -> bool:
    """Whether a file that `read` refuses may be found right when it is read record by record, as it was not yet."""
    return isinstance(fmt, Sifting) and fmt.reads_hastily and fmt.has_records(look) and not look.by_records


def unopened(path: str, error: Exception) -> FileFailure:
    """Why the worker could not look into a file. Any other error than of reading it is raised again."""
    match error:
        case FileNotFoundError() | NotADirectoryError() | IsADirectoryError():
            return FileFailure(path, MISSING, "it vanished after it was listed; when it is back, retry the run")
        case PermissionError():
            who = f": {error.strerror}" if path.startswith("s3://") and error.strerror else " by this user"
            return FileFailure(path, AUTH, f"it may not be read{who}; give the right to, and retry the run")
        case Unreadable():
            return FileFailure(path, DATA_MALFORMED, str(error))
        case OSError():
            return FileFailure(path, CONNECTIVITY, f"it cannot be read: {error.strerror or error}")
    raise error


def shown_path(data: StructType) -> Column:
    """The path of each row's file as Spark shows it, also where the data has a column `_metadata` of its own."""
    from pyspark.sql.connect import functions as F

    if "_metadata" in by_name(data):
        # Of a frame's metadata column, which would tell the same, Spark 3.5 understands nothing by Connect.
        return F.input_file_name()
    return F.col("_metadata.file_path")


def not_known() -> Column:
    """The error of a bad record that was none when its file was looked through."""
    from pyspark.sql.connect import functions as F

    return F.raise_error(F.lit("MALFORMED_RECORD: it was none when it was looked for")).cast("string")


def spread(looks: Sequence[_Each], most: int = SAMPLE_FILES) -> list[_Each]:
    """At most `most` of them: the first, the last, and evenly between."""
    if len(looks) <= most:
        return list(looks)
    step = (len(looks) - 1) / (most - 1)
    return [looks[round(position * step)] for position in range(most)]


def by_name(data: StructType) -> dict[str, Any]:
    """Fields by their names without regard to case, as Spark and Iceberg compare them."""
    return {field.name.casefold(): field for field in data.fields}


def spark_options(options: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    """The ingestion's options under Spark's names.

    A usual end of lines is left out: without being told Spark reads each of them, and being told it reads a file with
    another one as a single line, without an error.
    """
    return {
        names[key]: str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in options.items()
        if key in names and not (key == "line_separator" and value in LINE_ENDS)
    }


def sampled(fmt: Format, files: Sequence[tuple[str, int]], known: StructType) -> set[Any] | None:
    """The groups of a sample of these files; None where one of them is not what the table's columns let expect.

    Of large files the sample is fewer: it is read before Spark begins.
    """
    sample = spread(files, _GUESSED_FROM)
    before = accumulate((size for _, size in sample), initial=0)
    few = [file for file, read in zip(sample, before, strict=False) if read < _GUESSED_BYTES]
    looks = Looks.of(fmt.look(few, known))
    if looks.failures or any(look.unfamiliar for look in looks.good):
        return None
    return set(looks.groups())
