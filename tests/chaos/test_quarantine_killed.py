"""A worker dies, or sleeps past its lease, while bad records are set aside: each is set aside once, or not at all."""

from __future__ import annotations

import pytest
from tests.chaos.conftest import MakeWorld
from tests.chaos.scenes import WORLDS
from tests.chaos.world import World, expire_history

# Between two of these something of a batch with bad records may be in one table and not in the other.
_POINTS = ("stage_recorded", "judged", "quarantine_published", "published")
MADE = WORLDS["quarantine_staged"]


def mixed(make_world: MakeWorld, seed: int, format_: str = "json") -> World:
    world = make_world(seed=seed, format_=format_, **MADE)
    world.source.add(2)
    world.source.add_mixed()
    return world


@pytest.mark.parametrize("point", _POINTS)
def test_a_batch_that_is_taken_back_leaves_nothing_set_aside(point: str, make_world: MakeWorld) -> None:
    world = mixed(make_world, _POINTS.index(point), "csv")
    with world.reader():
        world.kill_at(point)
        world.clear()
        world.finish()
    world.check()


@pytest.mark.parametrize("point", ["quarantine_staged", *_POINTS])
def test_a_worker_that_sleeps_sets_nothing_aside_twice(point: str, make_world: MakeWorld) -> None:
    world = mixed(make_world, _POINTS.index(point) if point in _POINTS else 9)
    with world.reader():
        sleeper = world.stop_at(point)
        world.end_leases()
        world.finish()
        world.check()
        sleeper.wake()
        assert sleeper.wait() > 0
    world.check()


@pytest.mark.parametrize("point", ["judged", "quarantine_published"])
def test_a_worker_that_sleeps_while_its_batch_is_taken_back_sets_nothing_aside(
    point: str, make_world: MakeWorld
) -> None:
    world = mixed(make_world, 3)
    with world.reader():
        world.sleep_while_it_is_cleared(point)
    world.check()


def test_a_held_batch_keeps_what_it_sets_aside_until_it_is_released(make_world: MakeWorld) -> None:
    world = mixed(make_world, 4)
    world.hold()
    with world.reader():
        world.finish()
        aside = world.quarantine
        assert aside.spark.table(aside.name.quoted).count() == 0
        world.release_held()
        world.kill_at("quarantine_published")
        world.finish()
    world.check()


def test_spark_dies_while_records_are_set_aside(make_world: MakeWorld) -> None:
    world = mixed(make_world, 5)
    with world.reader():
        for point in ("quarantine_staged", "quarantine_burned", "quarantine_published"):
            assert world.kill_spark_at(point)["status"] == "failed", point
        world.finish()
    world.check()


def test_what_was_set_aside_long_ago_is_not_set_aside_again(make_world: MakeWorld) -> None:
    world = mixed(make_world, 6)
    world.kill_at("stage_recorded")
    # Main moves on, so that a copy is published: the snapshot that was staged is kept by its branch.
    world.quarantine.append_nothing()
    world.kill_at("quarantine_published")
    world.quarantine.append_nothing()
    expire_history(world.quarantine)
    world.finish()
    world.check()
