"""A world of its own for each test, on the Spark servers that all tests share."""

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


@pytest.fixture(scope="session")
def lake(servers: Callable[[str], Running], spark: str) -> Iterator[SparkSessions]:
    """The one session by which tests look at tables."""
    sessions = open_lake(servers(spark))
    yield sessions
    sessions.close()


@pytest.fixture
def make_world(
    lake: SparkSessions,
    servers: Callable[[str], Running],
    spark: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[MakeWorld]:
    """Makes a world in a namespace named after this test's folder; no process of it outlives the test."""
    made: list[World] = []
    on = servers(spark)
    if on.url is not None:
        monkeypatch.setenv("AUTOLOADER_SPARK_REMOTE", on.url)

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
        if sparks.on_cluster(request.config):
            database = "postgresql"
            more.setdefault("bucket", request.getfixturevalue("bucket"))
        if database == "postgresql":
            url = (server or request.getfixturevalue("postgres")).make_database()
        world = World(lake, on, folder, name, format_=format_, seed=seed, database_url=url, **more)
        made.append(world)
        return world

    yield make
    for world in made:
        world.end()
