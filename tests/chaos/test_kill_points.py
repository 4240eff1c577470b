"""A worker is killed between every two steps of a load; the next run makes everything right."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from tests.chaos.conftest import MakeWorld
from tests.chaos.scenes import HOLDING, WORLDS, set_scene

import autoloader_server.engine
from autoloader_server.engine.killpoints import POINTS

# Where a transaction has just been written, or comes next: there the databases could differ. The others are
# reached on both by the scenarios of tests/unit/test_interleavings.py.
LEDGER_POINTS = (
    "claimed",
    "stage_recorded",
    "judged",
    "published",
    "recorded",
    "burned",
    "settle_found",
    "claimed_again",
)


@pytest.mark.parametrize(
    ("point", "database"),
    [*((point, "sqlite") for point in POINTS), *((point, "postgresql") for point in LEDGER_POINTS)],
)
def test_after_a_kill_the_next_run_leaves_every_row_once(point: str, database: str, make_world: MakeWorld) -> None:
    number = POINTS.index(point)
    made = {"format_": "csv" if number % 2 else "json"} | WORLDS.get(point, {})
    world = make_world(seed=number, database=database, **made)
    with world.reader():
        set_scene(world, point)
        world.kill_at(point)
        world.end()
        if point in HOLDING:
            world.release_held()
        world.source.add(1)
        world.finish()
    world.check()


@pytest.mark.parametrize("second", ["audited", "published", "recorded"])
def test_a_run_that_settles_may_be_killed_as_well(second: str, make_world: MakeWorld) -> None:
    world = make_world()
    world.source.add(10)
    with world.reader():
        # The first batch has landed, the second is in the middle.
        world.kill_at("stage_recorded:2")
        world.kill_at("settle_found")
        world.kill_at(second)
        world.finish()
    world.check()


def test_every_place_in_the_engine_that_can_be_killed_is_a_known_point() -> None:
    engine = Path(autoloader_server.engine.__file__).parent
    named = {
        call.args[0].value
        for file in engine.rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and (call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)) == "reach"
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }
    assert named == set(POINTS)
    assert len(POINTS) == len(set(POINTS))
