"""PostgreSQL is away in the middle of a load: the run waits for it, or says so, and no row is lost or doubled."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.chaos.conftest import MakeWorld
from tests.chaos.scenes import set_scene
from tests.chaos.waiting import until
from tests.parts import postgres
from tests.parts.postgres import PostgresServer

SOON = 120.0


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of this test's own, which it may stop."""
    with postgres.running() as started:
        yield started


@pytest.mark.parametrize(("point", "seconds"), [("claimed", 20), ("published", 3), ("burned", 3)])
def test_a_run_waits_while_the_database_is_away_and_then_goes_on(
    point: str, seconds: int, make_world: MakeWorld, server: PostgresServer
) -> None:
    world = make_world(database="postgresql", server=server)
    with world.reader():
        set_scene(world, point)
        worker = world.stop_at(point)
        server.stop("immediate")
        worker.wake()
        # Its lease is tried each second, so this was not the first try of the run itself.
        tries = "could not be renewed yet"
        until(lambda: worker.said().count(tries) >= seconds, "the worker sees that it is away", SOON)
        assert not worker.ended, worker.said()
        server.start()
        assert worker.wait() in (0, 3), worker.said()
        assert worker.run()["status"] == ("partial" if world.source.bad else "success")
    world.check()


def test_a_run_that_waited_for_as_long_as_its_lease_ends_and_the_next_one_finishes(
    make_world: MakeWorld, server: PostgresServer
) -> None:
    world = make_world(database="postgresql", server=server)
    world.source.add(3)
    with world.reader():
        worker = world.stop_at("staged", lease_seconds=3)
        server.stop("immediate")
        worker.wake()
        until(lambda: "the ledger does not take it" in worker.said(), "the run gives up", SOON)
        worker.end()
        server.start()
        world.finish()
    world.check()
