"""Loading many small JSON files, against the least that Spark can do: one read and one append, with the schema given.

What is measured of ours is all of `run`: listing, comparing, looking into each file, claiming, staging, auditing,
publishing, recording; of a first load inferring the schema and making the table, too.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path

from benchmarks.data import write_json
from benchmarks.figures import Figure, at_most, in_turns, times_quicker
from benchmarks.floor import Floor
from benchmarks.place import Place, arrive, load, place

_ONE_BY_ONE = 100
_OPEN_COST = "spark.sql.files.openCostInBytes"
_SPARKS_OPEN_COST = str(4 * 2**20)


def measure() -> list[Figure]:
    with place() as here:
        return [*_two_thousand(here), *_eight_thousand(here)]


def _two_thousand(here: Place) -> list[Figure]:
    paths = write_json(here.folder / "2000x50k", 2_000, 50_000)
    ours, floor = _Ours(here, paths), Floor(here, paths)
    took = in_turns(
        {
            "run": ours.next_load,
            "run, first load": ours.first_load,
            "floor": floor.append,
            "floor, openCost of Spark": lambda: floor.with_conf(_OPEN_COST, _SPARKS_OPEN_COST, floor.append),
            "Spark's file stream": floor.stream,
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
        at_most(f"{name}, first load", took["run, first load"], took["floor"], "read + append, our settings", 1.35),
    ]


def _eight_thousand(here: Place) -> list[Figure]:
    paths = write_json(here.folder / "8000x10k", 8_000, 10_000)
    ours, floor = _Ours(here, paths), Floor(here, paths)
    took = in_turns({"run": ours.next_load, "floor": floor.append}, rounds=5, warmups=1)
    return [at_most("8,000 x 10 KB JSON", took["run"], took["floor"], "read + append, our settings", 1.2)]


class _Ours:
    """All of `run` over the same files."""

    def __init__(self, here: Place, paths: list[str]) -> None:
        self._here = here
        self._paths = paths
        self._numbers = count()

    def first_load(self) -> float:
        """The schema is inferred from the files, and the table is made."""
        return load(self._here.client, self._here.ingestion(Path(self._paths[0]).parent))

    def next_load(self) -> float:
        """The table is there, as it is for the floor: it was made from one file, then all the others arrive."""
        source = self._here.folder / f"{len(self._paths)}-{next(self._numbers)}"
        arrive(self._paths[:1], source)
        ingestion = self._here.ingestion(source)
        load(self._here.client, ingestion)
        arrive(self._paths, source / "more")
        return load(self._here.client, ingestion)
