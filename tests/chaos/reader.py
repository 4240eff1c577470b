"""Somebody who reads the table all the while: of each file all rows must be seen, or none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tests.chaos.waiting import until

from autoloader_server.engine.sql import TableName
from autoloader_server.spark.errors import SparkUnavailable
from autoloader_server.spark.sessions import connect, release, spark_errors
from autoloader_server.spark.state import SparkFolder

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

_PAUSE_SECONDS = 0.5


class Reader:
    """Reads in a thread, by a session of its own, whenever there is a server; starts none.

    It ends well only if it has read the table.
    """

    def __init__(self, home: Path, table: TableName, remote: str | None = None) -> None:
        self.reads = 0
        self._home = home
        self._remote = remote
        self._table = table
        self._seen: dict[str, set[int]] = {}
        self._vanished: set[str] = set()
        self._fault: Exception | None = None
        self._stopped = Event()
        self._thread = Thread(target=self._read_on, name=f"reader of {table.quoted}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                # The scene is over and the table is there: a reader that never saw it has watched nothing.
                until(lambda: self.reads or self._fault, f"somebody has read {self._table}")
        finally:
            self._stopped.set()
            self._thread.join()
        if self._fault is not None and error is None:
            raise self._fault

    def partial(self, counts: Mapping[str, set[int]]) -> list[str]:
        """What should not have been seen: `counts` are each good file's rows, in any version. For after the reading."""
        found = [
            f"{path}: {seen} of {sorted(counts.get(path, ()))} rows were seen"
            for path, sizes in self._seen.items()
            for seen in sorted(sizes)
            if seen not in counts.get(path, ())
        ]
        return found + [f"{path}: its rows were seen, and then no more" for path in sorted(self._vanished)]

    def _read_on(self) -> None:
        session: SparkSession | None = None
        before: set[str] = set()
        while not self._stopped.wait(_PAUSE_SECONDS):
            try:
                session = session or self._connect()
                if session is None:
                    continue
                now = self._read(session)
                if now is not None:
                    self._vanished |= before - now
                    before = now
                elif self._remote is not None:
                    # With Iceberg 1.4's catalog in SQLite a session goes on seeing what it saw at first.
                    release(session)
                    session = None
            except SparkUnavailable:
                # It was killed: that is what these tests are about.
                if session is not None:
                    release(session)
                session = None
            except Exception as error:
                # A column was dropped between the analysis of the query and its execution: it is asked again.
                if "INCOMPATIBLE_TABLE_CHANGE_AFTER_ANALYSIS" not in str(error):
                    self._fault = error
                    return

    def _connect(self) -> SparkSession | None:
        if self._remote is not None:
            return connect(self._remote)
        server = SparkFolder(self._home).server()
        if server is None or not server.answers():
            return None
        return connect(server.url, alive=server.jvm.alive)

    def _read(self, session: SparkSession) -> set[str] | None:
        """The files whose rows are there; None where there is no table."""
        with spark_errors():
            if not session.catalog.tableExists(self._table.quoted):
                return None
            rows = session.sql(
                f"SELECT _source_file AS path, count(*) AS seen FROM {self._table.quoted} GROUP BY 1"
            ).collect()
        self.reads += 1
        for row in rows:
            self._seen.setdefault(row["path"], set()).add(row["seen"])
        return {row["path"] for row in rows}
