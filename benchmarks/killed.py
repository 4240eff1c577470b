"""What a run has to do more where the one before it was killed on the same host, and how much memory a batch takes.

`python -m benchmarks.killed HOME INGESTION_ID` is such a run: it prints its peak memory, if it gets that far.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

from autoloader_sdk import Client
from benchmarks.data import write_json
from benchmarks.figures import Figure, below, in_turns
from benchmarks.place import Place, arrive, load, peak_megabytes, place

_POINTS = ("staged", "published")
_FILES = 100
_BATCH = 10_000


def measure() -> list[Figure]:
    with place() as here:
        runs = _Runs(here)
        parts = {"nobody died": lambda: runs.timed(None)}
        parts |= {f"killed at {point}": lambda point=point: runs.timed(point) for point in _POINTS}  # type: ignore[misc]
        took = in_turns(parts, rounds=5)
        megabytes = _memory(here)
    more = [
        below(f"settling after a kill at {point}", took[f"killed at {point}"] - took["nobody died"], 5, "s")
        for point in _POINTS
    ]
    return [*more, below("a batch of 10,000 files: peak memory of the worker", megabytes, 300, "MB")]


class _Runs:
    """Files arrive, a process may be killed over them, more arrive, and the next run loads what is left."""

    def __init__(self, here: Place) -> None:
        self._here = here
        self._paths = write_json(here.folder / "files", _FILES, 50_000)
        self._source = here.folder / "source"
        self._source.mkdir()
        self._ingestion = here.ingestion(self._source)
        self._numbers = count()

    def timed(self, killed_at: str | None) -> float:
        self._arrive()
        if killed_at is None:
            load(self._here.client, self._ingestion)
        else:
            done = _alone(self._here.folder / "home", self._ingestion.id, killed_at)
            if done.returncode != -signal.SIGKILL:
                raise RuntimeError(f"the process was not killed at {killed_at}: {done}")
        self._arrive()
        return load(self._here.client, self._ingestion)

    def _arrive(self) -> None:
        arrive(self._paths, self._source / f"arrival-{next(self._numbers)}")


def _memory(here: Place) -> float:
    source = here.folder / "batch"
    write_json(source, _BATCH, 1_000)
    ingestion = here.ingestion(source)
    done = _alone(here.folder / "home", ingestion.id)
    run = next(iter(ingestion.runs()))
    if run.status != "success" or run.metrics.files_processed != _BATCH:
        raise RuntimeError(str(run))
    return float(done.stdout)


def _alone(home: Path, ingestion_id: str, killed_at: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({"AUTOLOADER_KILL_AT": killed_at} if killed_at else {})
    command = [sys.executable, "-m", "benchmarks.killed", str(home), ingestion_id]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=killed_at is None)


def _main(home: str, ingestion_id: str) -> None:
    with Client.local(home) as client:
        client.ingestions.get(ingestion_id).run().wait()
    sys.stdout.write(str(peak_megabytes()))


if __name__ == "__main__":
    _main(*sys.argv[1:])
