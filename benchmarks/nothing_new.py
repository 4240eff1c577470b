"""A run that finds nothing new over 100,000 recorded files: against listing the folder, and against Spark's stream."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.data import write_json
from benchmarks.figures import Figure, at_most, below, in_turns, say, times_quicker
from benchmarks.place import Place, load, peak_megabytes, place

FILES = 100_000


def measure() -> list[Figure]:
    with place() as here:
        source = here.folder / "recorded"
        say(f"  writing and loading {FILES:,} files …")
        write_json(source, FILES, 100, per_folder=1_000)
        ingestion = here.ingestion(source)
        load(here.client, ingestion)
        stream = _Stream(here, source)
        stream.run()
        took = in_turns({"run": lambda: load(here.client, ingestion), "stream": stream.run}, rounds=3)
        here.client.close()
        alone = _in_a_fresh_process(here.folder / "home", source, ingestion.id)
    return [
        times_quicker("nothing new, 100,000 files", took["run"], took["stream"], "readStream with its checkpoint", 4),
        at_most("nothing new, 100,000 files", alone["run"], alone["scan"], "bare scandir with stat", 4),
        below("nothing new: peak memory of the process", alone["megabytes"], 200, "MB"),
        below("nothing new: Spark sessions opened", alone["sessions"], 0.5, "sessions"),
    ]


class _Stream:
    def __init__(self, here: Place, source: Path) -> None:
        self._here = here
        self._source = source
        self._table = here.table()
        self._schema = here.spark.read.json(str(next(source.rglob("*.json")))).schema

    def run(self) -> None:
        spark = self._here.spark
        query = (
            spark.readStream.schema(self._schema)
            .option("maxFilesPerTrigger", 1_000_000)
            .option("recursiveFileLookup", "true")
            .json(str(self._source))
            .writeStream.option("checkpointLocation", str(self._here.folder / "checkpoint"))
            .trigger(availableNow=True)
            .toTable(self._table)
        )
        query.awaitTermination()


def _in_a_fresh_process(home: Path, source: Path, ingestion_id: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.nothing_new", str(home), str(source), ingestion_id]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _alone(home: str, source: str, ingestion_id: str) -> dict[str, float]:
    """Runs and bare scans in turns, in this process; its peak memory, and whether it opened a Spark session."""
    from autoloader_sdk import Client

    with Client.local(home) as client:
        ingestion = client.ingestions.get(ingestion_id)
        took = in_turns({"run": lambda: load(client, ingestion), "scan": lambda: _scan(source)}, rounds=7)
        spark = client.health().spark
    return {**took, "megabytes": peak_megabytes(), "sessions": float(spark != "not_started")}


def _scan(source: str) -> None:
    folders = [source]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    entry.stat()


if __name__ == "__main__":
    json.dump(_alone(*sys.argv[1:]), sys.stdout)
