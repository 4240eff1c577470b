"""Loading many small JSON files, against the least that Spark can do: one read and one append, with the schema given.

What is measured of ours is all of `run`: listing, comparing, looking into each file, inferring the schema, making the
table, staging, auditing, publishing, recording.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.data import write_json
from benchmarks.figures import Figure, at_most, in_turns, times_quicker
from benchmarks.place import Place, load, place

if TYPE_CHECKING:
    from collections.abc import Callable

_ONE_BY_ONE = 100
_OPEN_COST = "spark.sql.files.openCostInBytes"
_SPARKS_OPEN_COST = str(4 * 2**20)


def measure() -> list[Figure]:
    with place() as here:
        return [*_two_thousand(here), *_eight_thousand(here)]


def _two_thousand(here: Place) -> list[Figure]:
    source = here.folder / "2000x50k"
    paths = write_json(source, 2_000, 50_000)
    floor = _Floor(here, paths)
    took = in_turns(
        {
            "run": lambda: load(here.ingestion(source)) and None,
            "floor": floor.append,
            "floor, openCost of Spark": lambda: floor.with_conf(_OPEN_COST, _SPARKS_OPEN_COST, floor.append),
            "Spark's file stream": lambda: floor.stream(source),
            f"one by one, {_ONE_BY_ONE} files": lambda: floor.one_by_one(_ONE_BY_ONE),
        },
        rounds=5,
        warmups=2,
    )
    one_by_one = took[f"one by one, {_ONE_BY_ONE} files"] * len(paths) / _ONE_BY_ONE
    run, name = took["run"], "2,000 x 50 KB JSON"
    return [
        at_most(name, run, took["floor, openCost of Spark"], "read + append, Spark's openCostInBytes", 0.9),
        at_most(name, run, took["floor"], "read + append, our settings", 1.35),
        times_quicker(name, run, one_by_one, "an append a file", 20),
        at_most(name, run, took["Spark's file stream"], "readStream, availableNow", 1.0),
    ]


def _eight_thousand(here: Place) -> list[Figure]:
    source = here.folder / "8000x10k"
    floor = _Floor(here, write_json(source, 8_000, 10_000))
    took = in_turns({"run": lambda: load(here.ingestion(source)) and None, "floor": floor.append}, rounds=5, warmups=1)
    return [at_most("8,000 x 10 KB JSON", took["run"], took["floor"], "read + append, our settings", 1.2)]


class _Floor:
    """Spark by itself, over the same files in the same session."""

    def __init__(self, here: Place, paths: list[str]) -> None:
        self._here = here
        self._paths = paths
        self._spark = here.spark
        self._spark.sql("CREATE NAMESPACE IF NOT EXISTS lake.bench")
        self._schema = self._spark.read.json(paths[:20]).schema

    def append(self) -> None:
        self._read(self._paths).writeTo(self._table()).append()

    def one_by_one(self, files: int) -> None:
        table = self._table()
        for path in self._paths[:files]:
            self._read([path]).writeTo(table).append()

    def stream(self, source: Path) -> None:
        table = self._table()
        query = (
            self._spark.readStream.schema(self._schema)
            .option("maxFilesPerTrigger", 1_000_000)
            .json(str(source))
            .writeStream.option("checkpointLocation", str(self._here.folder / "checkpoints" / table))
            .trigger(availableNow=True)
            .toTable(table)
        )
        query.awaitTermination()

    def with_conf(self, name: str, value: str, part: Callable[[], None]) -> None:
        before = self._spark.conf.get(name)
        self._spark.conf.set(name, value)
        try:
            part()
        finally:
            self._spark.conf.set(name, before)

    def _read(self, paths: list[str]) -> Any:
        return self._spark.read.schema(self._schema).json(paths)

    def _table(self) -> str:
        name = self._here.table()
        self._spark.createDataFrame([], self._schema).writeTo(name).using("iceberg").create()
        return name
