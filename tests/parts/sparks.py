"""Which Spark a test runs on: the local one, or a 3.5.7 server as clusters have it, with an old or a new Iceberg.

A test, or with `pytestmark` its module, says `@pytest.mark.sparks(LOCAL, OLD, NEW)`; without, it runs on the local one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.homes import spark_home
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


@dataclass(frozen=True, slots=True)
class Running:
    """A home, and the URL of the server that works on it; None of the local one, which starts itself."""

    home: Path
    url: str | None


@contextmanager
def servers(make_folder: Callable[[], Path]) -> Iterator[Callable[[str], Running]]:
    """What gives the server of each Spark: started when it is first asked for, and alive until the block ends.

    Starting one costs as much as some tests: those of one file ask for all three in turn, and those of the next again.
    """
    known: dict[str, Running] = {}
    with ExitStack() as stack:

        def of(spark: str) -> Running:
            if spark not in known:
                home = stack.enter_context(spark_home(make_folder()))
                url = None
                if spark != LOCAL:
                    url = stack.enter_context(spark35.running(home, _ICEBERG[spark])).url
                known[spark] = Running(home, url)
            return known[spark]

        yield of
