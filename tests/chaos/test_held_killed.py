"""A worker, or the call itself, is killed at each step of a hold, a release and a drop."""

from __future__ import annotations

import pytest
from tests.chaos.conftest import MakeWorld
from tests.chaos.world import World

from autoloader_server.engine.killpoints import DECISION_POINTS, POINTS

HOLD = ("audited", "held")
# From the settling on these are the ways of any batch (test_kill_points.py).
RELEASE = ("batch_released", "settle_found", "claimed_again", "published")
DROP = ("batch_dropped", "settle_found", "burning", "burned")


def begun(make_world: MakeWorld, database: str, seed: int) -> tuple[World, set[str]]:
    """Some files are loaded, and others that came later are held; which these are."""
    world = make_world(seed=seed, database=database)
    world.source.add(3)
    world.finish()
    before = set(world.source.rows)
    world.hold()
    world.source.add(3)
    world.finish()
    return world, set(world.source.rows) - before


@pytest.mark.parametrize("point", HOLD)
def test_what_a_killed_worker_was_to_hold_is_held_and_loaded_once_when_it_is_released(
    point: str, make_world: MakeWorld
) -> None:
    world = make_world(seed=HOLD.index(point))
    world.source.add(3)
    world.hold()
    with world.reader():
        world.kill_at(point)
        run = world.finish()
        assert (run["metrics"]["files_processed"], run["metrics"]["records_ingested"]) == (0, 0)
        assert "held: 3 files in 1 batch" in " ".join(run["warnings"])
        world.release_held()
        world.finish()
    world.check()


@pytest.mark.parametrize(
    ("point", "database"),
    [*((point, "sqlite") for point in RELEASE), ("claimed_again", "postgresql")],
)
def test_after_a_killed_release_every_row_is_there_once(point: str, database: str, make_world: MakeWorld) -> None:
    world, _ = begun(make_world, database, RELEASE.index(point))
    with world.reader():
        world.kill_at(point, "release")
        world.release_held()
        world.source.add(1)
        world.finish()
    world.check()


@pytest.mark.parametrize(
    ("point", "database"),
    [*((point, "sqlite") for point in DROP), ("batch_dropped", "postgresql")],
)
def test_after_a_killed_drop_no_row_of_the_batch_is_there(point: str, database: str, make_world: MakeWorld) -> None:
    world, dropped = begun(make_world, database, DROP.index(point))
    with world.reader():
        world.kill_at(point, "drop")
        world.source.drop(dropped)
        world.release_held()
        world.source.add(1)
        world.finish()
    world.check()


def test_each_point_of_a_decision_is_one_of_these() -> None:
    assert set(DECISION_POINTS) <= {*RELEASE, *DROP}
    assert {*HOLD, *RELEASE, *DROP} <= {*POINTS, *DECISION_POINTS}
