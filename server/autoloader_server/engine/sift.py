"""Bad records are told from the good ones of their files, where an ingestion rescues them or sets them aside.

A file comes here that was refused: by the worker's look, or by Spark when it was staged with others. What is found is
certain before the batch is claimed: staging a malformed record that is not known fails.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from autoloader_sdk.models import MOST_BAD_RECORDS
from autoloader_server.engine.culprits import by_halves, misfit
from autoloader_server.engine.errors import DATA_MALFORMED, SCHEMA_MISMATCH, FileFailure
from autoloader_server.engine.explain import explain
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
from autoloader_server.engine.read import plain_path
from autoloader_server.engine.schema import without
from autoloader_server.engine.sql import identifier
from autoloader_server.engine.work import Work
from autoloader_server.spark.sessions import spark_errors

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import StructField, StructType

_MOST_OF_A_REASON = 200


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


def remember(work: Work, looks: Sequence[Look], failures: Sequence[FileFailure]) -> list[FileFailure]:
    """The failures of a staged batch that stand; the others are refused when their files are looked into again."""
    # A file whose bad records were known is not looked through a second time.
    found, standing = refuse(work, [look for look in looks if not look.bad], failures)
    work.refused.update((look.path, look.refused) for look in found if look.refused is not None)
    return standing


def sift(work: Work, looks: Sequence[Look]) -> list[Look]:
    """The looks, with the bad records of those that were refused. Files that fail after all are written down.

    So many bad records come into one batch as fit into memory: the files with the others are left for the next one.
    """
    refused = [look for look in looks if look.refused is not None]
    fmt = work.format
    if not refused or not isinstance(fmt, Sifting):
        return list(looks)
    work.step("looking for bad records")
    with spark_errors():
        data = without(work.schema, work.lineage)
    sieve = _Sieve(work.spark, fmt, data, work.limits.max_bad_records_per_file)
    found = Looks.of(sieve.sift(refused))
    work.fail(found.failures)
    return [look for look in looks if look.refused is None] + found.good


@dataclass(frozen=True, slots=True)
class _Sieve:
    spark: SparkSession
    fmt: Sifting
    data: StructType
    most: int

    def sift(self, looks: Sequence[Look]) -> list[Look | FileFailure]:
        told = Looks.of(map(self._garbled, looks))
        found = by_halves(self.spark, told.good, self._sifted, lambda error, look: [explain(error, look.path)])
        return [*told.failures, *found]

    def _garbled(self, look: Look) -> Look | FileFailure:
        """What the worker itself finds in a file."""
        assert look.refused is not None
        try:
            found = list(islice(self.fmt.garbled(look, self.data), self.most + 1))
        except Unreadable as error:
            # The file could be loaded if it had no bad record: that is what is wrong with it.
            return replace(look.refused, message=f"{look.refused.message}; {error}")
        except OSError as error:
            return unopened(look.path, error)
        return self._too_many(look, found[0].reason) if len(found) > self.most else replace(look, bad=tuple(found))

    def _sifted(self, looks: Sequence[Look]) -> Iterable[Look | FileFailure]:
        total = 0
        for members in Looks(list(looks)).groups().values():
            counts = self._counts(members)
            chosen = []
            for look in members:
                bad = counts.get(look.path, 0)
                if bad > self.most:
                    yield self._too_many(look, look.refused.message if look.refused else "")
                elif bad == 0:
                    # It was refused for something else.
                    assert look.refused is not None
                    yield look.refused
                elif not total or total + bad <= MOST_BAD_RECORDS:
                    total += bad
                    chosen.append(look)
            if chosen:
                found = self._malformed(chosen)
                yield from (self._placed(look, found[look.path], counts[look.path]) for look in chosen)

    def _counts(self, looks: Sequence[Look]) -> dict[str, int]:
        from pyspark.sql.connect import functions as F

        frame = self.fmt.sifted(self.spark, looks, self.data, all_known=False)
        # A column is parsed only if it is asked for.
        parsed = [F.count(F.col(identifier(field.name))) for field in self.data.fields]
        rows = frame.groupBy(PATH_COLUMN).agg(F.count(F.col(CORRUPT_COLUMN)), *parsed).collect()
        return {plain_path(row[0]): row[1] for row in rows}

    def _malformed(self, looks: Sequence[Look]) -> dict[str, list[BadRecord]]:
        """The records that Spark refuses, by file."""
        from pyspark.sql.connect import functions as F

        known = {record.text for look in looks for record in look.bad}
        null = [F.col(identifier(field.name)).isNull().alias(f"c{at}") for at, field in enumerate(self.data.fields)]
        frame = self.fmt.sifted(self.spark, looks, self.data, all_known=False)
        rows = frame.where(F.col(CORRUPT_COLUMN).isNotNull()).select(PATH_COLUMN, CORRUPT_COLUMN, *null).collect()
        found: dict[str, list[BadRecord]] = defaultdict(list)
        for path, text, *lacking in rows:
            if text not in known:
                fields = [field for field, missing in zip(self.data.fields, lacking, strict=True) if missing]
                reason = self._reason(looks[0], text, fields)
                found[plain_path(path)].append(BadRecord(None, text, reason, digest(text.encode())))
        return found

    def _reason(self, look: Look, text: str, null: Sequence[StructField]) -> str:
        if (shape := self.fmt.out_of_shape(look, text)) is not None:
            return shape
        wrong, value = misfit(self.fmt, look, text, null)
        if wrong is None:
            return "it does not fit the table's columns"
        return f"{wrong.name!r} is no {wrong.dataType.simpleString()}: {value[:_MOST_OF_A_REASON]}"

    def _placed(self, look: Look, records: Sequence[BadRecord], expected: int) -> Look | FileFailure:
        """The file with all its bad records, each at its line."""
        waiting: dict[str, deque[BadRecord]] = defaultdict(deque)
        for record in records:
            waiting[_first_line(record.text)].append(record)
        bad = list(look.bad)
        for number, line in enumerate(self.fmt.lines(look), start=1) if waiting else ():
            if line in waiting:
                bad.append(replace(waiting[line].popleft(), line=number))
                if not waiting[line]:
                    del waiting[line]
        bad += [record for left in waiting.values() for record in left]
        if len(bad) != expected:
            return FileFailure(
                look.path,
                DATA_MALFORMED,
                f"{expected} of its records do not fit the table's columns, and which they are cannot be told",
            )
        return replace(look, refused=None, bad=tuple(sorted(bad, key=lambda record: record.line or 0)))

    def _too_many(self, look: Look, why: str) -> FileFailure:
        return FileFailure(
            look.path,
            DATA_MALFORMED,
            f"it has more than {self.most} bad records (limits.max_bad_records_per_file): {why}",
        )


def _first_line(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").partition("\n")[0]
