"""What tests with a Spark server of their own share: its home, and names in its lake."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autoloader_server.spark.local import LocalSpark


@contextmanager
def spark_home(folder: Path) -> Iterator[Path]:
    """The state folder of a Spark server, which ends with it, whoever started it."""
    try:
        yield folder
    finally:
        LocalSpark(folder).stop()


def namespace_of(folder: Path) -> str:
    """A namespace of the lake for the test alone whose temporary folder this is."""
    return "".join(c if c.isalnum() else "_" for c in f"{folder.parent.name}_{folder.name}")
