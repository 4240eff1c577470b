"""Loading a few large CSV files, against one read and one append of the same."""

from __future__ import annotations

import random
from itertools import count
from pathlib import Path

from benchmarks.figures import Figure, at_most, in_turns
from benchmarks.floor import Floor
from benchmarks.place import Place, arrive, load, place

_FILES = 20
_SIZE = 50 * 10**6


def measure() -> list[Figure]:
    with place() as here:
        paths = _write_csv(here.folder / "files")
        floor = Floor(here, paths, "csv", header=True)
        took = in_turns({"run": _Ours(here, paths).next_load, "floor": floor.append}, rounds=3)
    return [at_most("20 x 50 MB CSV", took["run"], took["floor"], "read + append, our settings", 1.15)]


class _Ours:
    def __init__(self, here: Place, paths: list[str]) -> None:
        self._here = here
        self._paths = paths
        self._numbers = count()

    def next_load(self) -> float:
        source = self._here.folder / f"source-{next(self._numbers)}"
        source.mkdir()
        head = Path(self._paths[0]).read_text().splitlines(keepends=True)[:100]
        (source / "first.csv").write_text("".join(head))
        ingestion = self._here.ingestion(source, "csv")
        load(self._here.client, ingestion)
        arrive(self._paths, source / "more")
        return load(self._here.client, ingestion)


def _write_csv(folder: Path) -> list[str]:
    folder.mkdir()
    rng = random.Random(7)  # noqa: S311 - data, no secret
    lines = [
        f"{rng.randrange(10**9)},customer-{rng.randrange(10**6):06},{rng.random() * 1000:.2f},"
        f'2026-01-01 00:00:{rng.randrange(60):02},"Berlin, Mitte",{rng.random()}\n'
        for _ in range(10_000)
    ]
    block = "".join(lines)
    paths = []
    for number in range(_FILES):
        path = folder / f"part-{number:02}.csv"
        with path.open("w") as file:
            file.write("id,customer,amount,at,place,share\n")
            for _ in range(_SIZE // len(block)):
                file.write(block)
        paths.append(str(path))
    return paths
