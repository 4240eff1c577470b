"""A worker dies, or sleeps past its lease, while rows are replaced: of each file there is its newest version, once."""

from __future__ import annotations

import pytest
from tests.chaos.conftest import MakeWorld
from tests.chaos.world import World, expire_history

# The model of the table (tests/unit/test_interleavings.py) knows all the others too.
POINTS = ("branch_created", "staged", "stage_recorded", "publishing", "published", "recorded")
BURNING = ("burning", "burn_staged", "burned")


def changed(make_world: MakeWorld, seed: int, database: str = "sqlite") -> tuple[World, list[str]]:
    """Files are loaded, of which some have changed since; which these are."""
    world = make_world(seed=seed, format_="csv" if seed % 2 else "json", database=database, on_changed="replace")
    world.source.add(4)
    world.finish()
    return world, world.source.change(2)


@pytest.mark.parametrize("point", POINTS)
def test_after_a_kill_the_next_run_leaves_every_file_in_its_newest_version(point: str, make_world: MakeWorld) -> None:
    world, _ = changed(make_world, POINTS.index(point), "postgresql" if point == "published" else "sqlite")
    with world.reader():
        world.kill_at(point)
        world.source.add(1)
        world.finish()
    world.check()


@pytest.mark.parametrize("point", BURNING)
def test_a_batch_whose_files_changed_again_is_taken_back_whatever_dies(point: str, make_world: MakeWorld) -> None:
    world, files = changed(make_world, BURNING.index(point))
    with world.reader():
        world.kill_at("stage_recorded")
        world.source.change_again(files[0])
        world.kill_at(point)
        world.finish()
    world.check()


@pytest.mark.parametrize("point", ["staged", "publishing", "published"])
def test_a_worker_that_sleeps_replaces_nothing_twice(point: str, make_world: MakeWorld) -> None:
    world, _ = changed(make_world, len(point))
    with world.reader():
        sleeper = world.stop_at(point)
        world.end_leases()
        world.source.add(1)
        world.finish()
        world.check()
        sleeper.wake()
        assert sleeper.wait() > 0
    world.check()


@pytest.mark.parametrize("point", ["staged", "publishing"])
def test_a_worker_that_sleeps_does_not_bring_back_what_is_out_of_date(point: str, make_world: MakeWorld) -> None:
    world, files = changed(make_world, len(point))
    with world.reader():
        sleeper = world.stop_at(point)
        world.end_leases()
        # Its batch is burned for it, and the newest version replaces the one that is still in the table.
        world.source.change_again(files[0])
        world.finish()
        world.check()
        sleeper.wake()
        assert sleeper.wait() > 0
        world.finish()
    world.check()


def test_spark_dies_while_rows_are_replaced(make_world: MakeWorld) -> None:
    world, _ = changed(make_world, 2)
    with world.reader():
        for point in ("branch_created", "stage_recorded", "publishing"):
            assert world.kill_spark_at(point)["status"] == "failed", point
            world.source.change(1)
        world.finish()
    world.check()


def test_the_history_is_expired_before_the_next_run(make_world: MakeWorld) -> None:
    world, files = changed(make_world, 3)
    world.kill_at("published")
    table = world.table
    # The branch keeps the snapshot that was published; nothing leads back to it from what comes after.
    for _ in range(2):
        table.append_nothing()
    expire_history(table)
    world.source.change_again(files[1])
    world.finish()
    # The batches of before are in no history any more: the rows are what can be looked at.
    verdict = world.verify()
    assert (verdict.lost, verdict.doubled) == (0, 0), verdict
