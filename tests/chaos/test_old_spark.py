"""Kills between the steps of a load: the files in S3, the ledger in PostgreSQL, Spark 3.5.7 with the oldest Iceberg."""

from __future__ import annotations

import pytest
from tests.chaos.conftest import MakeWorld
from tests.chaos.scenes import WORLDS, set_scene
from tests.parts import sparks
from tests.parts.object_stores import Bucket

POINTS = ("columns_added", "column_widened", "staged", "published", "burned", "settle_found", "quarantine_published")


@pytest.mark.sparks(sparks.OLD)
@pytest.mark.parametrize("point", POINTS)
def test_after_a_kill_the_next_run_leaves_every_row_once(point: str, make_world: MakeWorld, bucket: Bucket) -> None:
    made = {"format_": "json"} | WORLDS.get(point, {})
    world = make_world(seed=3, database="postgresql", bucket=bucket, **made)
    with world.reader():
        set_scene(world, point)
        world.kill_at(point)
        world.end()
        world.source.add(1)
        world.finish()
    world.check()


@pytest.mark.sparks(sparks.OLD)
@pytest.mark.parametrize("point", ["staged", "published"])
def test_the_same_of_a_file_whose_rows_are_replaced(point: str, make_world: MakeWorld, bucket: Bucket) -> None:
    world = make_world(seed=1, database="postgresql", bucket=bucket, on_changed="replace")
    world.source.add(4)
    world.finish()
    world.source.change(2)
    with world.reader():
        world.kill_at(point)
        world.source.add(1)
        world.finish()
    world.check()
