"""Kills at moments that nobody chose."""

from __future__ import annotations

import pytest
from tests.chaos.conftest import MakeWorld
from tests.chaos.moments import kill_at_a_moment


@pytest.mark.parametrize(("seed", "database"), [(0, "sqlite"), (1, "sqlite"), (2, "sqlite"), (3, "postgresql")])
def test_kills_at_random_moments_lose_and_double_nothing(seed: int, database: str, make_world: MakeWorld) -> None:
    world = make_world(format_=["json", "csv"][seed % 2], seed=seed, database=database)
    killed = 0
    with world.reader():
        while killed < 3:
            world.source.add(9)
            killed += kill_at_a_moment(world, victim="spark" if killed == 1 and seed == 0 else "worker")
        world.source.add(1)
        world.finish()
    world.check()
