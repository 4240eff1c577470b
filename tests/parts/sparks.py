"""Which Spark a test runs on: the local one, or a 3.5.7 server as clusters have it, with an old or a new Iceberg.

A test, or with `pytestmark` its module, says `@pytest.mark.sparks(LOCAL, OLD, NEW)`; without, it runs on the local one.
One that says `LOCAL` alone is about that one. The catalog of a 3.5 server is in PostgreSQL.

`pytest --on cluster` runs `tests/chaos` and `tests/integration` on the parts that teams have: what would be on the
local Spark runs on 3.5.7 with the oldest Iceberg (those marked, on each 3.5 of theirs), with the ledger in PostgreSQL
and the files in S3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.homes import spark_home
from tests.parts import spark35
from tests.parts.spark35 import Spark35

LOCAL = "local41"
OLD = "spark35-iceberg1.4"
NEW = "spark35-iceberg1.11"
ALL = (LOCAL, OLD, NEW)
_ICEBERG = {OLD: "1.4.3", NEW: "1.11.0"}


def generate(metafunc: pytest.Metafunc) -> None:
    """For `pytest_generate_tests`: the fixture `spark` is each of the test's."""
    marker = metafunc.definition.get_closest_marker("sparks")
    asked = (LOCAL,) if marker is None else marker.args
    if on_cluster(metafunc.config) and (marker is None or asked != (LOCAL,)):
        asked = tuple(spark for spark in asked if spark != LOCAL) or (OLD,)
    if asked != (LOCAL,) and "spark" in metafunc.fixturenames:
        metafunc.parametrize("spark", asked, scope="session", indirect=True)


def add_option(parser: pytest.Parser) -> None:
    parser.addoption("--on", choices=["laptop", "cluster"], default="laptop", help="which parts tests run on")


def on_cluster(config: pytest.Config) -> bool:
    return bool(config.getoption("--on") == "cluster")


@dataclass(frozen=True, slots=True)
class Running:
    """A home, and the server that works on it; None of the local one, which starts itself."""

    home: Path
    server: Spark35 | None = None

    @property
    def url(self) -> str | None:
        return None if self.server is None else self.server.url

    def ensure(self) -> None:
        """Where a server was killed it is there again; the local one is for whoever needs it next."""
        if self.server is not None:
            self.server.ensure()


@contextmanager
def servers(make_folder: Callable[[], Path], make_database: Callable[[], str]) -> Iterator[Callable[[str], Running]]:
    """What gives the server of each Spark: started when it is first asked for, and alive until the block ends.

    `make_database` makes one of PostgreSQL for the catalog of a 3.5 server.

    Starting one costs as much as some tests: those of one file ask for all three in turn, and those of the next again.
    """
    known: dict[str, Running] = {}
    with ExitStack() as stack:

        def of(spark: str) -> Running:
            if spark not in known:
                home = stack.enter_context(spark_home(make_folder()))
                server = None
                if spark != LOCAL:
                    server = stack.enter_context(spark35.running(home, _ICEBERG[spark], database=make_database()))
                known[spark] = Running(home, server)
            known[spark].ensure()
            return known[spark]

        yield of
