"""One home with one Spark server for all chaos tests; a world of its own for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.world import World, open_lake
from tests.homes import namespace_of
from tests.parts import sparks
from tests.parts.postgres import PostgresServer
from tests.parts.sparks import Running

from autoloader_server.spark.sessions import SparkSessions

MakeWorld = Callable[..., World]


pytest_generate_tests = sparks.generate


@pytest.fixture(scope="session")
def spark(request: pytest.FixtureRequest) -> str:
    """Which Spark this test runs on."""
    return str(getattr(request, "param", sparks.LOCAL))


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Running]]:
    """The Spark servers, each kept for all tests that ask for it."""
    with sparks.servers(lambda: tmp_path_factory.mktemp("chaos-home")) as of:
        yield of


@pytest.fixture(scope="session")
def home(servers: Callable[[str], Running], spark: str) -> Path:
    """The state folder of the Spark server that this test runs on."""
    return servers(spark).home


@pytest.fixture(scope="session")
def remote(servers: Callable[[str], Running], spark: str) -> str | None:
    """The URL of the Spark server, where it is not the local one."""
    return servers(spark).url


@pytest.fixture(scope="session")
def lake(home: Path, remote: str | None) -> Iterator[SparkSessions]:
    sessions = open_lake(home, remote)
    yield sessions
    sessions.close()


@pytest.fixture
def make_world(
    lake: SparkSessions,
    home: Path,
    remote: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[MakeWorld]:
    """Makes a world in a namespace named after this test's folder; no process of it outlives the test."""
    made: list[World] = []
    if remote is not None:
        monkeypatch.setenv("AUTOLOADER_SPARK_REMOTE", remote)

    def make(
        format_: str = "json",
        seed: int = 0,
        database: str = "sqlite",
        server: PostgresServer | None = None,
        **more: Any,
    ) -> World:
        folder = tmp_path / f"world-{len(made)}"
        name = f"{namespace_of(tmp_path)}_{len(made)}"
        url = None
        if database == "postgresql":
            url = (server or request.getfixturevalue("postgres")).make_database()
        world = World(lake, home, folder, name, format_=format_, seed=seed, remote=remote, database_url=url, **more)
        made.append(world)
        return world

    yield make
    for world in made:
        world.end()
