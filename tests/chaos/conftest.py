"""One home with one Spark server for all chaos tests; a world of its own for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.chaos.world import World, open_lake
from tests.homes import namespace_of, spark_home

from autoloader_server.spark.sessions import SparkSessions

MakeWorld = Callable[..., World]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with spark_home(tmp_path_factory.mktemp("chaos-home")) as folder:
        yield folder


@pytest.fixture(scope="session")
def lake(home: Path) -> Iterator[SparkSessions]:
    sessions = open_lake(home)
    yield sessions
    sessions.close()


@pytest.fixture
def make_world(lake: SparkSessions, home: Path, tmp_path: Path) -> Iterator[MakeWorld]:
    """Makes a world in a namespace named after this test's folder; no process of it outlives the test."""
    made: list[World] = []

    def make(format_: str = "json", seed: int = 0) -> World:
        folder = tmp_path / f"world-{len(made)}"
        name = f"{namespace_of(tmp_path)}_{len(made)}"
        world = World(lake, home, folder, name, format_=format_, seed=seed)
        made.append(world)
        return world

    yield make
    for world in made:
        world.end()
