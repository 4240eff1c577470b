"""Which Spark a test runs on: the local one, or a 3.5.7 server as clusters have it, with an old or a new Iceberg.

A test, or with `pytestmark` its module, says `@pytest.mark.sparks(LOCAL, OLD, NEW)`; without, it runs on the local one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.parts import spark35

LOCAL = "local41"
OLD = "spark35-iceberg1.4"
NEW = "spark35-iceberg1.11"
ALL = (LOCAL, OLD, NEW)
_ICEBERG = {OLD: "1.4.3", NEW: "1.11.0"}


def generate(metafunc: pytest.Metafunc) -> None:
    """For `pytest_generate_tests`: the fixture `spark` is each of the test's."""
    marker = metafunc.definition.get_closest_marker("sparks")
    if marker is not None and "spark" in metafunc.fixturenames:
        metafunc.parametrize("spark", marker.args, scope="session", indirect=True)


@contextmanager
def remote(spark: str, home: Path) -> Iterator[str | None]:
    """The URL of the server that this Spark needs, running; None for the local one, which starts itself."""
    if spark == LOCAL:
        yield None
        return
    with spark35.running(home, _ICEBERG[spark]) as server:
        yield server.url
