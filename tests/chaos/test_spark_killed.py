"""Spark is killed in the middle of a load: the run says so soon, and the next one makes everything right."""

from __future__ import annotations

import pytest
from tests.chaos.conftest import MakeWorld
from tests.chaos.scenes import set_scene

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
            assert [error["error_type"] for error in run["errors"]] == ["connectivity"], point
        world.finish()
    world.check()
