"""What bad files cost the others: 2,000 JSON files with one and with a hundred bad ones among them, against none.

Cut off: the worker's look finds it. Refused: only Spark's read of the whole file shows it (a number of 1,500 digits).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

from benchmarks.data import write_json
from benchmarks.figures import Figure, at_most, in_turns
from benchmarks.place import Place, arrive, load, place

FILES = 2_000
_SIZE = 50_000
_KINDS: dict[str, Callable[[list[str]], str]] = {
    "cut off": lambda lines: "".join(lines)[:-20],
    "refused by Spark": lambda lines: "".join([*lines[:-1], f'{{"city": 1{"0" * 1500}}}\n']),
}


def measure() -> list[Figure]:
    with place() as here:
        loads = _Loads(here)
        parts = {"none bad": lambda: loads.timed(0, "cut off")}
        for kind in _KINDS:
            for number in (1, 100):
                parts[f"{number} {kind}"] = lambda number=number, kind=kind: loads.timed(number, kind)  # type: ignore[misc]
        took = in_turns(parts, rounds=3)
    limits = {1: 2, 100: 5}
    return [
        at_most(f"{number} of 2,000 files {kind}", took[f"{number} {kind}"], took["none bad"], "none bad", limit)
        for kind in _KINDS
        for number, limit in limits.items()
    ]


class _Loads:
    """The same files arrive again and again for a table that is there, some of them broken."""

    def __init__(self, here: Place) -> None:
        self._here = here
        self._paths = write_json(here.folder / "files", FILES, _SIZE)
        self._numbers = count()

    def timed(self, bad: int, kind: str) -> float:
        source = self._here.folder / f"source-{next(self._numbers)}"
        arrive(self._paths[:1], source)
        ingestion = self._here.ingestion(source)
        load(self._here.client, ingestion)
        arrive(self._paths, source / "more")
        for path in self._paths[:: FILES // bad] if bad else ():
            # Not through the link, which the good files share.
            broken = source / "more" / Path(path).name
            broken.unlink()
            broken.write_text(_KINDS[kind](Path(path).read_text().splitlines(keepends=True)))
        return load(self._here.client, ingestion, "partial" if bad else "success")
