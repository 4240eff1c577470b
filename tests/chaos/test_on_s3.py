"""Kills between the steps of a load from S3 (SeaweedFS), with the ledger in PostgreSQL."""

from __future__ import annotations

import pytest
from tests.chaos.conftest import MakeWorld
from tests.chaos.scenes import set_scene
from tests.parts.object_stores import Bucket


@pytest.mark.parametrize("point", ["staged", "published", "burned"])
def test_after_a_kill_the_next_run_leaves_every_row_once(point: str, make_world: MakeWorld, bucket: Bucket) -> None:
    world = make_world(seed=2, database="postgresql", bucket=bucket, on_changed="replace")
    world.source.add(4)
    world.finish()
    world.source.change(2)
    with world.reader():
        set_scene(world, point)
        world.kill_at(point)
        world.source.add(1)
        world.finish()
    world.check()
