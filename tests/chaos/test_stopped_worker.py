"""A worker sleeps past its lease and wakes up when another one has done its work: it must do no harm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Select, select
from tests.chaos.conftest import MakeWorld
from tests.chaos.scenes import set_scene
from tests.chaos.waiting import until
from tests.chaos.worker import settings
from tests.chaos.world import World

from autoloader_server.db.tables import batches, runs
from autoloader_server.engine.batch_record import UNFINISHED
from autoloader_server.engine.killpoints import POINTS
from autoloader_server.service import Service

_POINTS = (
    "claimed",
    "branch_created",
    "staged",
    "publishing",
    "published",
    "recorded",
    "burning",
    "burn_staged",
    "burned",
)
both = pytest.mark.parametrize("database", ["sqlite", "postgresql"])


@pytest.mark.parametrize(
    ("point", "database"),
    [
        *((point, "sqlite") for point in _POINTS),
        *((point, "postgresql") for point in ("claimed", "published", "burned")),
    ],
)
def test_a_worker_that_wakes_up_after_its_lease_does_no_harm(point: str, database: str, make_world: MakeWorld) -> None:
    world = make_world(seed=POINTS.index(point), database=database)
    with world.reader():
        set_scene(world, point)
        sleeper = world.stop_at(point)
        world.end_leases()
        run = world.finish()
        world.check()
        sleeper.wake()
        assert sleeper.wait() > 0
    assert sleeper.run()["id"] != run["id"]
    assert sleeper.run()["status"] == "failed"
    assert "a fault" not in sleeper.said()
    world.check()


@both
def test_two_workers_that_publish_the_same_snapshot_publish_it_once(make_world: MakeWorld, database: str) -> None:
    world = make_world(database=database)
    world.source.add(3)
    with world.reader():
        first = world.stop_at("publishing")
        world.end_leases()
        second = world.stop_at("publishing")
        # It looked whether the batch is still its own before it fell asleep; only the table can refuse now.
        first.wake()
        assert first.wait() > 0
        second.wake()
        assert second.wait() == 0, second.said()
        world.finish()
    world.check()


@pytest.mark.parametrize("point", ["claimed", "publishing", "published"])
def test_a_worker_that_sleeps_while_the_ingestion_is_cleared_does_no_harm(point: str, make_world: MakeWorld) -> None:
    world = make_world()
    world.source.add(3)
    with world.reader():
        world.sleep_while_it_is_cleared(point)
    world.check()


def test_a_worker_that_wakes_up_in_the_middle_of_another_ones_work_does_no_harm(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    world.source.add(3)
    with world.reader():
        first = world.stop_at("branch_created")
        world.end_leases()
        second = world.stop_at("stage_recorded")
        first.wake()
        assert first.wait() > 0
        second.wake()
        assert second.wait() == 0, second.said()
        world.finish()
    world.check()


@both
def test_a_lease_ends_by_itself_when_its_worker_sleeps_and_the_run_that_waits_says_so(
    make_world: MakeWorld, database: str
) -> None:
    world = make_world(database=database)
    world.source.add(3)
    world.finish()
    world.source.add(20)
    in_a_batch = select(batches.c.id).where(
        batches.c.ingestion_id == world.ingestion_id, batches.c.status.in_(UNFINISHED)
    )
    step = select(runs.c.step).where(runs.c.ingestion_id == world.ingestion_id)
    with looks_at(world) as look, world.reader():
        sleeper = world.start(lease_seconds=8)

        def sleeps_in_a_batch() -> bool:
            if look(in_a_batch):
                world.stop_somewhere(sleeper)
                if look(in_a_batch):
                    return True
                sleeper.wake()
            return False

        until(sleeps_in_a_batch, "the worker sleeps in the middle of a batch")
        # As in the moment when its run has expired, and its batch, which it renewed later, has not.
        world.end_leases(runs)
        waiting = world.start()
        until(lambda: "waiting for another worker's lease" in look(step), "the next run says what it waits for")
        assert waiting.wait() == 0, waiting.said()
        (note,) = [note for note in waiting.run()["warnings"] if "lease" in note]
        assert note.startswith("waited for the lease of a batch that another worker holds")
        assert f"process {sleeper.pid} on " in note
        sleeper.wake()
        sleeper.wait()
        world.finish()
    world.check()


@contextmanager
def looks_at(world: World) -> Iterator[Callable[[Select[Any]], Sequence[Any]]]:
    """Asks the world's ledger, and takes up no run that waits there: the first column of what is found."""
    service = Service.open(settings(world.home, world._url), takes_up_runs=False)

    def look(query: Select[Any]) -> Sequence[Any]:
        with service.database.read() as connection:
            return connection.execute(query).scalars().all()

    try:
        yield look
    finally:
        service.close()


@both
def test_two_workers_started_at_once_load_every_row_once(make_world: MakeWorld, database: str) -> None:
    world = make_world(database=database)
    world.source.add(20)
    with world.reader():
        workers = [world.start(), world.start(), world.start()]
        assert [worker.wait() for worker in workers] == [0, 0, 0]
    world.check()
