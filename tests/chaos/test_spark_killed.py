"""Spark is killed in the middle of a load: the run says so soon, and the next one makes everything right."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.chaos.conftest import MakeWorld
from tests.chaos.scenes import DROPPING, HOLDING, SETTING_ASIDE, WIDENING, WORLDS, set_scene
from tests.chaos.waiting import until
from tests.chaos.world import SPARK_DEATH_SECONDS
from tests.homes import namespace_of
from tests.integration.ingesting import Ingestion
from tests.parts.sparks import Running

from autoloader_server.engine import load
from autoloader_server.engine.killpoints import POINTS
from autoloader_server.service import Service
from autoloader_server.services import runs as run_service
from autoloader_server.settings import Settings
from autoloader_server.spark.sessions import SparkSessions
from autoloader_server.spark.state import SparkFolder

# One load is killed at one point after the other: each but the first is reached by a run that settles.
_LOAD = ("claimed", "branch_created", "staged", "stage_recorded", "publishing", "published")
_BURNING = ("burning", "burn_branch_created", "burn_staged", "burned")
_COLUMNS = ("columns_intended", "columns_added", "prepared")


@pytest.mark.parametrize("points", [_LOAD, _BURNING, _COLUMNS], ids=["load", "burning", "columns"])
def test_a_run_whose_spark_dies_says_so_and_the_next_one_finishes(
    points: tuple[str, ...], make_world: MakeWorld
) -> None:
    world = make_world()
    with world.reader():
        set_scene(world, points[0])
        for point in points:
            run = world.kill_spark_at(point)
            assert run["status"] == "failed", point
            assert "Spark server" in run["message"], point
            assert "run again" in run["message"], point
            assert [error["error_type"] for error in run["errors"] if error["file"] is None] == ["connectivity"], point
            assert {error["file"] for error in run["errors"]} - {None} <= world.source.bad, point
        world.finish()
    world.check()


# Here a run waits for another worker's lease, and asks nothing of Spark.
_WAITING = ("settle_waited",)
_NAMED = {*_LOAD, *_BURNING, *_COLUMNS, *_WAITING}
# In worlds of one kind each.
_OTHERS = [
    ["table_made", *(point for point in POINTS if point not in _NAMED | {*WORLDS, *HOLDING, "table_made"})],
    [point for point in POINTS if point in HOLDING],
    [point for point in POINTS if point in DROPPING],
    [point for point in POINTS if point in WIDENING],
    [point for point in POINTS if point in SETTING_ASIDE],
]


@pytest.mark.parametrize("points", _OTHERS, ids=["others", "holding", "dropping", "widening", "setting aside"])
def test_where_a_run_may_do_without_the_spark_that_died_it_ends_well_or_says_so(
    points: list[str], make_world: MakeWorld, lake: SparkSessions
) -> None:
    """Before it has a session it gets one with a new server; when all is recorded it needs none."""
    world = make_world(**WORLDS.get(points[0], {}))
    with world.reader():
        for point in points:
            set_scene(world, point)
            lake.session()  # also where the run itself starts none before
            run = world.kill_spark_at(point)
            if run["status"] not in ("success", "partial"):
                assert run["status"] == "failed", point
                assert "Spark server" in run["message"], point
                assert {error["error_type"] for error in run["errors"] if error["file"] is None} == {"connectivity"}
            if point in HOLDING:
                world.finish()
                world.release_held()
        world.end()
        world.finish()
    world.check()


def test_these_are_all_the_points_of_a_load() -> None:
    assert sorted([*_NAMED, *(point for points in _OTHERS for point in points)]) == sorted(POINTS)


@contextmanager
def ingestion(home: Path, remote: str | None, database_url: str, folder: Path) -> Iterator[Ingestion]:
    """An ingestion on a service of this process, so that a test can change what Spark is asked for."""
    source = folder / "source"
    source.mkdir()
    service = Service.open(Settings.load(home=home, database_url=database_url, spark_remote=remote))
    destination = {"catalog": "lake", "database": namespace_of(folder), "table": "t"}
    spec: dict[str, Any] = {
        "name": "killed",
        "source": {"type": "local", "path": str(source)},
        "format": {"type": "csv"},
        "destination": destination | {"lineage_columns": ["_source_file"]},
    }
    try:
        yield Ingestion(service, spec)
    finally:
        service.close()


def test_spark_dies_in_the_middle_of_a_statement(
    servers: Callable[[str], Running],
    spark: str,
    own_database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home, remote = servers(spark).home, servers(spark).url
    with ingestion(home, remote, own_database_url, tmp_path) as loaded:
        assert loaded.load({"a.csv": "n\n1\n"}).status == "success"
        frame_of = load.frame_of

        def status_of(run_id: str) -> str:
            return str(run_service.get(loaded.service, loaded.id, run_id).status)

        def endless(spark: Any, *more: Any) -> Any:
            return frame_of(spark, *more).crossJoin(spark.range(10**12).select())

        loaded.write({"b.csv": "n\n2\n3\n"})
        server = SparkFolder(home).server()
        assert server is not None
        with monkeypatch.context() as patched:
            patched.setattr(load, "frame_of", endless)
            asked = loaded.request()
            until(lambda: run_service.get(loaded.service, loaded.id, asked).step == "loading", "it loads", 60)
            time.sleep(2)  # for Spark to be at it; were it not yet, the same must hold
            psutil.Process(server.jvm.pid).kill()
            until(lambda: status_of(asked) == "failed", "the run says so", SPARK_DEATH_SECONDS)
            ran = loaded.wait(asked)
        assert ran.status == "failed"
        assert [error.category for error in ran.errors] == ["connectivity"]
        assert "Spark server" in str(ran.message)
        assert "run again" in str(ran.message)
        servers(spark).ensure()
        assert loaded.load().files == 1
        assert loaded.counts() == {"a.csv": 1, "b.csv": 2}
        assert loaded.load().message == "nothing new"
