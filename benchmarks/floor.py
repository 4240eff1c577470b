"""The least that Spark can do: a read and an append, with the schema given."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.place import Place

if TYPE_CHECKING:
    from collections.abc import Callable


class Floor:
    """Spark by itself, over the same files in the same session, into a table that is there."""

    def __init__(self, here: Place, paths: list[str], format_: str = "json", **options: Any) -> None:
        self._here = here
        self._paths = paths
        self._format = format_
        self._options = options
        self._spark = here.spark
        self._spark.sql("CREATE NAMESPACE IF NOT EXISTS lake.bench")
        self._schema = self._spark.read.options(**options).load(paths[:20], format_, inferSchema=True).schema

    def append(self) -> float:
        """One read and one append of all files."""
        table = self._table()
        start = time.perf_counter()
        self._read(self._paths).writeTo(table).append()
        return time.perf_counter() - start

    def one_by_one(self, files: int) -> float:
        """An append for each of the first files."""
        table = self._table()
        start = time.perf_counter()
        for path in self._paths[:files]:
            self._read([path]).writeTo(table).append()
        return time.perf_counter() - start

    def stream(self) -> float:
        """Spark's own file stream, all files in one go."""
        table = self._table()
        start = time.perf_counter()
        query = (
            self._spark.readStream.schema(self._schema)
            .option("maxFilesPerTrigger", 1_000_000)
            .json(str(Path(self._paths[0]).parent))
            .writeStream.option("checkpointLocation", str(self._here.folder / "checkpoints" / table))
            .trigger(availableNow=True)
            .toTable(table)
        )
        query.awaitTermination()
        return time.perf_counter() - start

    def with_conf(self, name: str, value: str, part: Callable[[], float]) -> float:
        """One of these under another setting of Spark."""
        before = str(self._spark.conf.get(name))
        self._spark.conf.set(name, value)
        try:
            return part()
        finally:
            self._spark.conf.set(name, before)

    def _read(self, paths: list[str]) -> Any:
        return self._spark.read.options(**self._options).load(paths, self._format, self._schema)

    def _table(self) -> str:
        name = self._here.table()
        self._spark.createDataFrame([], self._schema).writeTo(name).using("iceberg").create()
        return name
