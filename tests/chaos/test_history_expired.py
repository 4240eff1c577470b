"""The proof that a batch landed was expired before anybody settled it: the rows tell, or nobody does."""

from __future__ import annotations

import pytest
from tests.chaos.conftest import MakeWorld
from tests.chaos.world import World, expire_history

from autoloader_server.services import ingestions


def killed_and_expired(world: World, point: str) -> None:
    """A worker dies at `point` of its second load; others commit, and nothing leads back to before it."""
    world.source.add(2)
    world.finish()
    world.source.add(2)
    world.kill_at(point)
    for _ in range(2):
        world.table.append_nothing()
    expire_history(world.table)


@pytest.mark.parametrize("point", ["staged", "published"])
def test_the_rows_themselves_tell_whether_a_batch_landed(point: str, make_world: MakeWorld) -> None:
    world = make_world()
    killed_and_expired(world, point)
    world.source.add(1)
    world.finish()
    # The commits of before are in no history any more: only rows and files can be compared.
    verdict = world.verify()
    assert (verdict.lost, verdict.doubled) == (0, 0), verdict
    assert not [fault for fault in verdict.faults if "in the ledger" in fault and "batch" not in fault], verdict


@pytest.mark.parametrize("point", ["staged", "published"])
def test_without_lineage_nothing_is_guessed_and_a_full_refresh_is_the_way_out(
    point: str, make_world: MakeWorld
) -> None:
    world = make_world(lineage=False)
    killed_and_expired(world, point)
    before = world.table.spark.table(world.table_name.quoted).count()
    for _ in range(2):
        run = world.next_run()
        assert run["status"] == "failed"
        assert "nobody can tell whether a batch" in run["message"]
        assert "has no _source_file column" in run["message"]
    with world.service() as service:
        ingestion = ingestions.get(service, world.ingestion_id)
    assert ingestion.status == "error"
    assert [warning for warning in ingestion.warnings if warning.startswith("NEEDS_REPAIR: nobody can tell")]
    assert world.table.spark.table(world.table_name.quoted).count() == before
    world.finish("full")
    with world.service() as service:
        ingestion = ingestions.get(service, world.ingestion_id)
    assert (ingestion.status, ingestion.warnings) == ("active", [])
    assert world.table.spark.table(world.table_name.quoted).count() == world.source.expected().total()
