"""A place to measure in: an embedded client in a temporary folder, whose Spark ends with it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoloader_sdk import Client
from autoloader_server.spark.local import LocalSpark

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

_POLL_SECONDS = 0.2


@dataclass
class Place:
    """Where files, tables and the ledger of one benchmark are."""

    folder: Path
    client: Client
    numbers: Iterator[int]

    @property
    def spark(self) -> SparkSession:
        """The session that the runs have, too."""
        return self.client._link.spark_session(None, None)  # noqa: SLF001 - the floor is measured in the same session

    def table(self) -> str:
        """A name that no table has yet."""
        return f"lake.bench.t{next(self.numbers)}"

    def ingestion(self, source: Any, format_: str = "json", **more: Any) -> Any:
        """A new ingestion of files into a table of its own."""
        name = self.table()
        return self.client.ingestions.create(name=name, source=source, format=format_, destination=name, **more)


def load(client: Client, ingestion: Any, ends: str = "success") -> float:
    """One run to its end, which must be as good as that; the seconds from asking for it until it was recorded.

    Asked for seldom, and timed by what the run records: being asked 50 times a second would slow it down.
    """
    asked = time.time()
    run = ingestion.run()
    run.wait(poll=_POLL_SECONDS)
    if run.status != ends:
        raise RuntimeError(str(run))
    took = float(run.ended_at.timestamp() - asked)
    # Counting rows per file and dropping branches come after the end: neither the next run nor a peer waits for them.
    while client.health().active_runs:
        time.sleep(_POLL_SECONDS)
    return took


def arrive(paths: list[str], folder: Path) -> None:
    """The same files under new names in another folder, which costs no copy."""
    folder.mkdir()
    for path in paths:
        os.link(path, folder / os.path.basename(path))


def peak_megabytes() -> float:
    """Of this process alone: Linux's `ru_maxrss` begins with what the parent had when it started us by vfork."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


@contextmanager
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="autoloader-bench-") as name:
        folder = Path(name)
        home = folder / "home"
        try:
            with Client.local(home) as client:
                yield Place(folder, client, count())
        finally:
            LocalSpark(home).stop()
