"""A refresh is killed between every two of its steps: never half of the rows, never one twice."""

from __future__ import annotations

import pytest
from tests.chaos.conftest import MakeWorld
from tests.chaos.world import World

from autoloader_server.engine.killpoints import REFRESH_POINTS

points = pytest.mark.parametrize("point", REFRESH_POINTS)


def check(world: World) -> None:
    """Table against files, by content."""
    verdict = world.verify()
    assert (verdict.lost, verdict.doubled) == (0, 0), verdict


def begun(make_world: MakeWorld) -> World:
    """Some files are loaded, and a worker has died in the middle of loading more."""
    world = make_world()
    world.source.add(4)
    world.finish()
    world.source.add(2)
    world.kill_at("published")
    world.source.add(2)
    return world


@points
def test_after_a_kill_a_full_refresh_that_is_asked_for_again_leaves_every_row_once(
    point: str, make_world: MakeWorld
) -> None:
    world = begun(make_world)
    world.kill_at(point, "full")
    world.finish("full")
    check(world)


@points
def test_a_run_after_a_killed_refresh_loads_all_or_nothing(point: str, make_world: MakeWorld) -> None:
    world = begun(make_world)
    world.kill_at(point, "full")
    run = world.next_run()
    if point == "table_dropped":
        assert run["status"] == "failed"
        assert "refresh" in run["errors"][0]["message"]
        assert run["metrics"]["files_processed"] == 0
        world.finish("full")
    check(world)


@points
def test_after_a_kill_a_new_only_refresh_that_is_asked_for_again_leaves_the_new_rows_once(
    point: str, make_world: MakeWorld
) -> None:
    world = make_world()
    world.source.add(4)
    world.finish()
    old = set(world.source.rows)
    world.source.add(3)
    world.kill_at(point, "new_only")
    world.finish("new_only")
    for path in old:
        del world.source.rows[path]
    check(world)
