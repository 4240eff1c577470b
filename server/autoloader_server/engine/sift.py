"""Bad records are told from the good ones of their files, where an ingestion rescues them or sets them aside.

A file comes here that was refused: by the worker's look, or by Spark when it was staged with others. What is found is
certain before the batch is claimed: staging a malformed record that is not known fails.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from autoloader_sdk.models import MOST_BAD_RECORDS
from autoloader_server.engine.changes import Change
from autoloader_server.engine.culprits import by_halves, everything, fails_alone, misfit
from autoloader_server.engine.errors import DATA_MALFORMED, SCHEMA_MISMATCH, FileFailure
from autoloader_server.engine.evolve import wide_enough
from autoloader_server.engine.formats.base import (
    CORRUPT_COLUMN,
    PATH_COLUMN,
    BadRecord,
    Look,
    Looks,
    Sifting,
    digest,
    unopened,
)
from autoloader_server.engine.formats.text import Unreadable
from autoloader_server.engine.ledger import FileVersion
from autoloader_server.engine.read import plain_path
from autoloader_server.engine.required import any_lacking, demands, no_value
from autoloader_server.engine.schema import without
from autoloader_server.engine.sql import identifier
from autoloader_server.engine.values import needed_by_good
from autoloader_server.engine.work import Work
from autoloader_server.spark.sessions import spark_errors

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import StructField, StructType

_MOST_OF_A_REASON = 200
# Of the bad records of one batch: their texts go through Spark Connect, whose messages hold 128 MiB at most.
_MOST_LETTERS = 16 * 2**20
# So many files are looked through at a time.
_AT_ONCE = 50


def refuse(work: Work, looks: Sequence[Look], failures: Sequence[FileFailure]) -> tuple[list[Look], list[FileFailure]]:
    """The looks, those refused among them whose failures lie in their records; and the failures that stand."""
    fmt = work.format
    if work.spec.on_bad_record == "fail" or not isinstance(fmt, Sifting):
        return list(looks), list(failures)
    of_records = {one.path: one for one in failures if one.category in (DATA_MALFORMED, SCHEMA_MISMATCH)}
    found = [
        replace(look, refused=failure)
        if (failure := of_records.get(look.path)) is not None and look.refused is None and fmt.has_records(look)
        else look
        for look in looks
    ]
    spared = {look.path for look in found if look.refused is not None}
    return found, [failure for failure in failures if failure.path not in spared]


def remember(
    work: Work, files: Sequence[FileVersion], looks: Sequence[Look], failures: Sequence[FileFailure]
) -> list[FileFailure]:
    """The failures of a staged batch that stand; the others are refused when their files are looked into again."""
    found, standing = refuse(work, looks, failures)
    ids = {file.path: file.id for file in files}
    work.refused.update((ids[look.path], look.refused) for look in found if look.refused is not None)
    return standing


def misfits_left(work: Work, looks: Sequence[Look], data: StructType) -> list[FileFailure]:
    """Those of the files, whose bad records are known, that cannot be staged without these either."""
    fmt = work.format
    if not isinstance(fmt, Sifting):
        return []

    def read(some: Sequence[Look]) -> list[FileFailure]:
        from pyspark.sql.connect import functions as F

        for members in Looks(list(some)).groups().values():
            frame = fmt.sifted(work.spark, members, data, all_known=True)
            frame.agg(F.count(F.col(CORRUPT_COLUMN)), F.max(everything(data))).collect()
        return []

    return by_halves(work.spark, looks, read, fails_alone)


def told_apart(work: Work, looks: Sequence[Look]) -> list[Look]:
    """The looks, before there is a table, with those bad records of the refused ones that show without its columns.

    Files that fail after all are written down; what is too much at once is left for the next batch.
    """
    fmt = work.format
    refused = deque(look for look in looks if look.refused is not None)
    if not refused or not isinstance(fmt, Sifting):
        return list(looks)
    found = Looks.of(_sieve(work, fmt, None).garbled(refused))
    work.fail(found.failures)
    return [look for look in looks if look.refused is None] + found.good


def sift(work: Work, looks: Sequence[Look]) -> list[Look]:
    """The looks, with the bad records of those that were refused. Files that fail after all are written down.

    So many bad records come into one batch as fit into memory: the files with the others are left for the next one.
    """
    fmt = work.format
    refused = deque(look for look in looks if look.refused is not None)
    good = [look for look in looks if look.refused is None]
    if not refused or not isinstance(fmt, Sifting):
        return good
    work.step("looking for bad records")
    with spark_errors():
        data = without(work.schema, work.lineage)
    sieve = _sieve(work, fmt, wide_enough(work, data, looks))
    room = _Room()
    while refused and not room.full:
        told = Looks.of(sieve.garbled(refused))
        if work.follows:
            # Beside the table's own columns: what one file needs must not hide what another does.
            for path, changes in replace(sieve, data=data).wider(told.good):
                work.wider.setdefault(path, []).extend(changes)
            sieve = replace(sieve, data=wide_enough(work, data, looks))
        found = Looks.of(sieve.sift(told.good, room))
        work.fail(told.failures + found.failures)
        good += found.good
    return good


@dataclass(slots=True)
class _Room:
    """How many bad records may still come, and how many letters of text."""

    records: int = MOST_BAD_RECORDS
    letters: int = field(default_factory=lambda: _MOST_LETTERS)
    full: bool = False

    def take(self, records: int, letters: int) -> bool:
        """Whether a file's still fit; after the first that do not, none do, so that no file waits for ever."""
        self.full = self.full or records > self.records or letters > self.letters
        if not self.full:
            self.records -= records
            self.letters -= letters
        return not self.full


@dataclass(frozen=True, slots=True)
class _Counted:
    """A file with so many bad records, of so many letters."""

    look: Look
    bad: int
    letters: int


@dataclass(frozen=True, slots=True)
class _Sieve:
    """Looks for the bad records of files: of those that do not go into the columns `data`, `most` in a file.

    `keeps`: their rows are kept, with null for what does not fit.
    """

    spark: SparkSession
    fmt: Sifting
    data: StructType | None
    most: int
    keeps: bool

    def garbled(self, refused: deque[Look]) -> Iterator[Look | FileFailure]:
        """Take some of the files, with the bad records that the worker itself finds in them."""
        room = _Room()
        for _ in range(min(len(refused), _AT_ONCE)):
            found = self._garbled(refused[0])
            if isinstance(found, Look) and not room.take(len(found.bad), sum(len(one.text) for one in found.bad)):
                return
            refused.popleft()
            yield found

    def _garbled(self, look: Look) -> Look | FileFailure:
        assert look.refused is not None
        bad: list[BadRecord] = []
        letters = 0
        try:
            for record in self.fmt.garbled(look, self.data):
                bad.append(record)
                letters += len(record.text)
                if (too_many := self._too_many(look, len(bad), letters, bad[0].reason)) is not None:
                    return too_many
        except Unreadable as error:
            # The file could be loaded if it had no bad record: that is what is wrong with it.
            return replace(look.refused, message=f"{look.refused.message}; {error}")
        except OSError as error:
            return unopened(look.path, error)
        return replace(look, bad=tuple(bad))

    def wider(self, looks: Sequence[Look]) -> list[tuple[str, list[Change]]]:
        """What types the columns need for the good records of these files."""
        read = partial(needed_by_good, self.spark, self.fmt, data=self._columns)
        return by_halves(self.spark, looks, read, lambda _error, _look: [])

    def sift(self, looks: Sequence[Look], room: _Room) -> Iterator[Look | FileFailure]:
        """Those of the files, with all their bad records, that the batch has room for."""
        chosen: dict[str, _Counted] = {}
        for one in by_halves(self.spark, looks, self._count, fails_alone):
            if isinstance(one, FileFailure):
                yield one
            elif room.take(one.bad, one.letters):
                chosen[one.look.path] = one
        yield from by_halves(
            self.spark, [one.look for one in chosen.values()], partial(self._find, counted=chosen), fails_alone
        )

    def _count(self, looks: Sequence[Look]) -> Iterator[_Counted | FileFailure]:
        from pyspark.sql.connect import functions as F

        text = F.col(CORRUPT_COLUMN)
        for members in Looks(list(looks)).groups().values():
            frame = self.fmt.sifted(self.spark, members, self._columns, all_known=False)
            # A column is parsed only if it is asked for.
            asked = [F.count(text), F.sum(F.length(text)), F.max(everything(self._columns))]
            lacks = any_lacking(self._columns, lambda name: F.col(identifier(name))) if self.keeps else None
            asked.append(F.count(F.when(text.isNotNull() & lacks, 1)) if lacks is not None else F.lit(0))
            counts = {plain_path(row[0]): row[1:] for row in frame.groupBy(PATH_COLUMN).agg(*asked).collect()}
            for look in members:
                assert look.refused is not None
                bad, letters, _, beyond = counts.get(look.path, (0, 0, None, 0))
                if bad == 0:
                    # It was refused for something else.
                    yield look.refused
                    continue
                if beyond:
                    why = f"{beyond} of its bad records cannot be rescued, as a column may not be null"
                    yield replace(look.refused, message=f"{why}: {look.refused.message}")
                    continue
                reason = look.bad[0].reason if look.bad else look.refused.message
                yield self._too_many(look, bad, letters, reason) or _Counted(look, bad, letters)

    def _find(self, looks: Sequence[Look], counted: Mapping[str, _Counted]) -> Iterator[Look | FileFailure]:
        for members in Looks(list(looks)).groups().values():
            found = self._malformed(members)
            yield from (self._placed(look, found[look.path], counted[look.path].bad) for look in members)

    def _malformed(self, looks: Sequence[Look]) -> dict[str, list[BadRecord]]:
        """The records that Spark refuses, by file."""
        from pyspark.sql.connect import functions as F

        fields = self._columns.fields
        known = {record.text for look in looks for record in look.bad}
        null = [F.col(identifier(field.name)).isNull().alias(f"c{at}") for at, field in enumerate(fields)]
        asked = demands(self._columns, lambda name: F.col(identifier(name)))
        lacks = [lacks.alias(f"l{at}") for at, (_, lacks) in enumerate(asked)]
        frame = self.fmt.sifted(self.spark, looks, self._columns, all_known=False)
        bad = frame.where(F.col(CORRUPT_COLUMN).isNotNull())
        found: dict[str, list[BadRecord]] = defaultdict(list)
        for path, text, *told in bad.select(PATH_COLUMN, CORRUPT_COLUMN, *null, *lacks).collect():
            if text not in known:
                empty = [field for field, missing in zip(fields, told, strict=False) if missing]
                without = [name for (name, _), missing in zip(asked, told[len(fields) :], strict=True) if missing]
                reason = self._reason(looks[0], text, empty, without)
                found[plain_path(path)].append(BadRecord(None, text, reason, digest(text.encode())))
        return found

    def _reason(self, look: Look, text: str, null: Sequence[StructField], without: Sequence[str]) -> str:
        if (shape := self.fmt.out_of_shape(look, text)) is not None:
            return shape
        wrong, value = misfit(self.fmt, look, text, null)
        if wrong is None:
            return no_value(without[0]) if without else "it does not fit the table's columns"
        return f"{wrong.name!r} is no {wrong.dataType.simpleString()}: {value[:_MOST_OF_A_REASON]}"

    def _placed(self, look: Look, records: Sequence[BadRecord], expected: int) -> Look | FileFailure:
        """The file with all its bad records, each at its line."""
        waiting: dict[str, deque[BadRecord]] = defaultdict(deque)
        for record in records:
            waiting[_first_line(record.text)].append(record)
        bad = list(look.bad)
        try:
            for number, line in enumerate(self.fmt.lines(look), start=1) if waiting else ():
                if line in waiting:
                    bad.append(replace(waiting[line].popleft(), line=number))
                    if not waiting[line]:
                        del waiting[line]
        except (OSError, Unreadable) as error:
            return unopened(look.path, error)
        bad += [record for left in waiting.values() for record in left]
        if len(bad) != expected:
            return FileFailure(
                look.path,
                DATA_MALFORMED,
                f"{expected} of its records do not fit the table's columns, and which they are cannot be told",
            )
        return replace(look, refused=None, bad=tuple(sorted(bad, key=lambda record: record.line or 0)))

    def _too_many(self, look: Look, bad: int, letters: int, why: str) -> FileFailure | None:
        if bad > self.most:
            what = f"it has more than {self.most} bad records (limits.max_bad_records_per_file)"
        elif letters > _MOST_LETTERS:
            what = f"its bad records have more than {_MOST_LETTERS // 2**20} Mi letters"
        else:
            return None
        return FileFailure(look.path, DATA_MALFORMED, f"{what}: {why}")

    @property
    def _columns(self) -> StructType:
        assert self.data is not None
        return self.data


def _sieve(work: Work, fmt: Sifting, data: StructType | None) -> _Sieve:
    return _Sieve(
        work.spark, fmt, data, work.limits.max_bad_records_per_file, keeps=work.spec.on_bad_record == "rescue"
    )


def _first_line(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").partition("\n")[0]
