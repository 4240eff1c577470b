"""Files whose rows are known: each has a number of its own, so that a lost or doubled one is seen."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random
from typing import Any

from tests.parts.object_stores import Bucket

Row = dict[str, Any]
Content = frozenset[tuple[str, Any]]
_NAMES = ("plain", "with, comma", 'with "quotes"', "ü ñ 漢", "+ %20 #", "0012")


class Source:
    """A folder of JSON or CSV files, or some of a bucket, and what a table must hold once they are loaded."""

    def __init__(self, place: Path | tuple[Bucket, str], format_: str, seed: int) -> None:
        self._bucket: Bucket | None = None
        if isinstance(place, Path):
            place.mkdir(parents=True)
            self.path = str(place)
        else:
            self._bucket, prefix = place
            self.path = self._bucket.path(prefix)
        self.format = format_
        self.rows: dict[str, list[Row]] = {}
        self.bad: set[str] = set()
        # (path, text) of the records that are not to be in the table, but beside it.
        self.set_aside: Counter[tuple[str, str]] = Counter()
        self.dropped: set[str] = set()
        # How many rows each file had, in all its versions.
        self.sizes: dict[str, set[int]] = {}
        self.changes = 0
        self.added_columns: set[str] = set()
        self.dropped_columns: set[str] = set()
        self.widened_columns: set[str] = set()
        self.random = Random(seed)
        self._next_id = 0
        self._columns: list[str] = []

    def add(self, files: int) -> None:
        """Good files of 1 to 40 rows, in all columns so far."""
        for _ in range(files):
            rows = self._rows()
            self.rows[self._write(rows)] = rows

    def change(self, files: int) -> list[str]:
        """Other rows in so many of the good files that are there; which these are."""
        chosen = self.random.sample(sorted(self.rows), files)
        for path in chosen:
            self.change_again(path)
        return chosen

    def change_again(self, path: str) -> None:
        self.sizes.setdefault(path, set()).add(len(self.rows[path]))
        self.rows[path] = self._rows()
        self._put(self._text(self.rows[path]), path)
        self.changes += 1

    def add_column(self) -> None:
        """Files from now on have one column more."""
        name = f"extra_{len(self._columns) + 1}"
        self._columns.append(name)
        if self.rows:
            self.added_columns.add(name)

    def drop_column(self) -> None:
        """Files from now on lack the last column, and a table that follows them does too."""
        name = self._columns.pop()
        self.dropped_columns.add(name)
        for row in (row for rows in self.rows.values() for row in rows):
            row.pop(name, None)

    def widen(self) -> None:
        """Files from now on have numbers that an int does not hold."""
        self._next_id += 2**31
        self.widened_columns.add("id")

    def add_bad(self) -> None:
        """A file that only Spark's read of all of it shows to be bad; for a table that is there already."""
        rows = [self._row() for _ in range(60)]
        if self.format == "json":
            # Any value may go into a column of text, and Spark alone refuses a number of over 1,000 digits.
            rows[-10]["name"] = 10**1500
        else:
            rows[-10]["id"] = "no number"
        self.bad.add(self._write(rows))

    def add_mixed(self) -> None:
        """A file of good rows with bad records among them, for a table whose `id` is a number."""
        rows = [self._row() for _ in range(self.random.randint(2, 20))]
        *head, last = self._text(rows).splitlines()
        bad = ['{"id": "none"}', '{"id": 1'] if self.format == "json" else ["none,x,1", "1,too few"]
        path = self._put("\n".join([*head, *bad, last]) + "\n")
        self.rows[path] = rows
        self.set_aside.update((path, record) for record in bad)

    def drop(self, paths: Iterable[str]) -> None:
        """These files' rows are not to be in the table: their batch is dropped."""
        for path in paths:
            del self.rows[path]
            self.dropped.add(path)

    def expected(self) -> Counter[tuple[str, Content]]:
        """(path, content of a row) → how often it must be in the table."""
        return Counter((path, content(row)) for path, rows in self.rows.items() for row in rows)

    def counts(self) -> dict[str, set[int]]:
        """How many rows of a file may be seen: those of any of its versions."""
        return {path: {len(rows)} | self.sizes.get(path, set()) for path, rows in self.rows.items()}

    def _rows(self) -> list[Row]:
        return [self._row() for _ in range(self.random.randint(1, 40))]

    def _row(self) -> Row:
        self._next_id += 1
        row: Row = {
            "id": self._next_id,
            "name": self.random.choice(_NAMES),
            "amount": self.random.randrange(10**6) / 64,
        }
        return row | {name: f"{name} of {self._next_id}" for name in self._columns}

    def _path(self) -> str:
        """Names in no order, so that a batch is no range of them."""
        return f"{self.path.rstrip('/')}/{self.random.getrandbits(32):08x} part.{self.format}"

    def _write(self, rows: list[Row]) -> str:
        return self._put(self._text(rows))

    def _put(self, text: str, path: str | None = None) -> str:
        path = path or self._path()
        if self._bucket is not None:
            self._bucket.put(path.removeprefix(self._bucket.path()), text)
            return path
        file = Path(path)
        draft = file.with_name(f".{file.name}")
        draft.write_text(text, encoding="utf-8")
        draft.rename(file)
        return path

    def _text(self, rows: list[Row]) -> str:
        if self.format == "json":
            return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


def content(row: Mapping[str, Any]) -> Content:
    """A row's values by column; a column without a value is as good as none."""
    return frozenset((name, value) for name, value in row.items() if value is not None)
