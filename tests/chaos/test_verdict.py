"""The judge of all chaos tests sees what they are about."""

from __future__ import annotations

from tests.chaos.conftest import MakeWorld
from tests.chaos.waiting import until


def test_a_lost_a_doubled_and_a_changed_row_are_seen(make_world: MakeWorld) -> None:
    world = make_world()
    world.source.add(4)
    with world.reader() as reader:
        world.finish()
        until(lambda: reader.partial({}), "the reader has seen rows")
    world.check()
    spark, table = world.table.spark, world.table_name.quoted
    spark.sql(f"INSERT INTO {table} SELECT * FROM {table} WHERE id = 1")
    assert (world.verify().lost, world.verify().doubled) == (0, 1)
    spark.sql(f"DELETE FROM {table} WHERE id = 1")
    assert (world.verify().lost, world.verify().doubled) == (1, 0)
    assert any("rows are recorded" in fault for fault in world.verify().faults)
    path, rows = next(iter(world.source.rows.items()))
    assert reader.partial({path: {len(rows) + 1}})
