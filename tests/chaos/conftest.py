"""A world of its own for each test, on the Spark servers that all tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.world import World, open_lake
from tests.homes import namespace_of
from tests.parts.postgres import PostgresServer

from autoloader_server.spark.sessions import SparkSessions

MakeWorld = Callable[..., World]


@pytest.fixture(scope="session")
def lake(home: Path, remote: str | None) -> Iterator[SparkSessions]:
    """The one session by which tests look at tables."""
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
