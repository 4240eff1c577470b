"""The database goes away in the middle of a transaction, committed or not: nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.model_world import BAD_READ, EMPTY, GOOD, Cut, World, model_database, model_engine

MakeWorld = Callable[[], World]
# More than a run with a bad file writes.
MOST_WRITES = 60


@pytest.fixture
def make_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeWorld]:
    database = model_database(f"sqlite:///{tmp_path}/ledger.db")
    worlds: list[World] = []

    def make() -> World:
        folder = tmp_path / f"source{len(worlds)}"
        folder.mkdir()
        worlds.append(World(database, folder, batch_size=2, lineage=True, foreign=False))
        return worlds[-1]

    model_engine(monkeypatch, lambda: worlds[-1].owners)
    yield make
    database.close()


@pytest.mark.parametrize("committed", [False, True])
def test_wherever_a_transaction_is_cut_off_the_next_run_makes_everything_right(
    make_world: MakeWorld, committed: bool
) -> None:
    """Each writing of a run in turn, until there are no more."""
    for nth in range(1, MOST_WRITES):
        world = make_world()
        for name, kind in (("a", GOOD), ("b", BAD_READ), ("c", EMPTY)):
            world.put(name, kind)
        cut = world.database.cut = Cut(nth, committed)
        world.start("A", local=False)
        world.finish("A")
        world.database.cut = None
        if nth % 2:  # else another worker is quicker
            world.tell_ends()
        if cut.nth > 0:
            assert world.outcome("A").startswith("partial"), "it was never cut off"
            break
        ended = world.outcome("A")
        assert "an error in the autoloader itself" not in ended
        if ended.startswith("failed:"):
            assert "database failed: the server closed the connection unexpectedly; nothing was lost" in ended
        world.check_end(world.settle_everything())
        world.tell_ends()
        world.check()
    assert 10 < nth < MOST_WRITES - 1
