"""Loading many small JSON files from S3 (SeaweedFS on this machine), against one read and one append of the same."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from tests.parts.object_stores import Bucket, running_seaweed

from autoloader_sdk.discovery.s3_access import S3Access
from autoloader_server.spark.s3 import S3Reads
from benchmarks.data import write_json
from benchmarks.figures import Figure, at_most, in_turns
from benchmarks.floor import Floor
from benchmarks.place import Place, load, place

_FILES = 2_000
_SIZE = 50_000


def measure() -> list[Figure]:
    with place() as here, running_seaweed(here.folder / "seaweed") as store:
        bucket = store.bucket()
        files = [Path(path) for path in write_json(here.folder / "files", _FILES, _SIZE)]
        reads = S3Reads.of(S3Access.of(bucket.credentials))
        _put(bucket, "floor", files)
        floor = Floor(here, [reads.path(bucket.path(f"floor/{file.name}")) for file in files], "json", **reads.options)
        ours = _Ours(here, bucket, files)
        took = in_turns({"run": ours.next_load, "floor": floor.append}, rounds=3)
    return [at_most("2,000 x 50 KB JSON from S3", took["run"], took["floor"], "read + append, our settings", 1.35)]


class _Ours:
    def __init__(self, here: Place, bucket: Bucket, files: list[Path]) -> None:
        self._here = here
        self._bucket = bucket
        self._files = files
        self._numbers = count()

    def next_load(self) -> float:
        prefix = f"source-{next(self._numbers)}"
        _put(self._bucket, prefix, self._files[:1])
        source = {"type": "s3", "path": self._bucket.path(f"{prefix}/"), "credentials": self._bucket.credentials}
        ingestion = self._here.ingestion(source)
        load(self._here.client, ingestion)
        _put(self._bucket, f"{prefix}/more", self._files)
        return load(self._here.client, ingestion)


def _put(bucket: Bucket, prefix: str, files: list[Path]) -> None:
    for file in files:
        bucket.put(f"{prefix}/{file.name}", file.read_bytes())
