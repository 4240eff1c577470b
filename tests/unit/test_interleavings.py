"""Thousands of interleavings of two workers: every record once, whatever dies and whenever."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.unit.model_world import (
    BAD_LOOK,
    BAD_READ,
    EMPTY,
    GOOD,
    ModelDatabase,
    World,
    model_database,
    model_engine,
)

EXAMPLES = int(os.environ.get("AUTOLOADER_TEST_INTERLEAVINGS", "2000"))
SEEDED = "AUTOLOADER_TEST_INTERLEAVINGS" not in os.environ

names = st.sampled_from(["a", "b", "c", "d"])
kinds = st.sampled_from([GOOD, GOOD, GOOD, EMPTY, BAD_LOOK, BAD_READ])
workers = st.sampled_from(["A", "B"])


class Interleavings(RuleBasedStateMachine):
    """Everything that can happen around an ingestion, in any order."""

    database: ModelDatabase
    folder: Path
    worlds = 0
    current: World

    @initialize(
        batch_size=st.integers(1, 3),
        lineage=st.booleans(),
        foreign=st.booleans(),
        files=st.lists(st.tuples(names, kinds), min_size=1, max_size=3),
    )
    def make(self, *, batch_size: int, lineage: bool, foreign: bool, files: list[tuple[str, str]]) -> None:
        cls = type(self)
        cls.worlds += 1
        folder = cls.folder / str(cls.worlds)
        folder.mkdir()
        self.world = World(cls.database, folder, batch_size, lineage, foreign)
        Interleavings.current = self.world
        for name, kind in files:
            self.world.put(name, kind)

    def alive(self) -> list[str]:
        return [name for name in ("A", "B") if name in self.world.workers and self.world.workers[name].alive]

    def pick(self, who: str) -> str:
        """The worker of that name if it lives, else the other one."""
        return who if who in self.alive() else self.alive()[0]

    @rule(name=names, kind=kinds)
    def put(self, name: str, kind: str) -> None:
        self.world.put(name, kind)

    @rule(name=names)
    def vanish(self, name: str) -> None:
        self.world.vanish(name)

    @precondition(lambda self: len(self.alive()) < 2)
    @rule(local=st.booleans(), late=st.booleans())
    def start(self, local: bool, late: bool) -> None:
        if late:
            self.world.expire_leases()
        self.world.start("B" if "A" in self.alive() else "A", local=local)

    @precondition(lambda self: self.alive())
    @rule(who=workers, count=st.integers(1, 3))
    def step(self, who: str, count: int) -> None:
        self.world.step(self.pick(who), count)

    @precondition(lambda self: self.alive())
    @rule(who=workers, count=st.integers(4, 60))
    def go_on(self, who: str, count: int) -> None:
        self.world.step(self.pick(who), count)

    @precondition(lambda self: self.alive())
    @rule(who=workers, point=st.sampled_from(["append", "publish", "append_nothing", "create_branch"]))
    def go_on_to(self, who: str, point: str) -> None:
        name = self.pick(who)
        worker = self.world.workers[name]
        for _ in range(100):
            self.world.step(name, 1)
            if worker.ended or worker.at in (f"table.{point}", "settle_waited"):
                return

    @precondition(lambda self: self.alive())
    @rule(who=workers, sent=st.booleans())
    def kill(self, who: str, sent: bool) -> None:
        self.world.kill(self.pick(who), sent=sent)

    @precondition(lambda self: any(self.world.workers[n].at.startswith("table.") for n in self.alive()))
    @rule(who=workers, sent=st.booleans())
    def lose_spark(self, who: str, sent: bool) -> None:
        name = self.pick(who)
        if self.world.workers[name].at.startswith("table."):
            self.world.lose_spark(name, sent=sent)

    @precondition(lambda self: self.alive())
    @rule(who=workers)
    def renew(self, who: str) -> None:
        self.world.renew(self.pick(who))

    @precondition(lambda self: self.alive())
    @rule(who=workers)
    def cancel(self, who: str) -> None:
        self.world.cancel(self.pick(who))

    @rule()
    def expire_leases(self) -> None:
        self.world.expire_leases()

    @precondition(lambda self: self.world.in_flight)
    @rule(number=st.integers(0, 3))
    def deliver(self, number: int) -> None:
        self.world.deliver(number)

    @rule()
    def clear(self) -> None:
        self.world.clear()

    @precondition(lambda self: self.world.iceberg.exists)
    @rule()
    def somebody_commits(self) -> None:
        self.world.iceberg.append([(None, "theirs")])

    # An expiry takes away what is days old, not what a worker saw committed the moment before.
    @precondition(lambda self: self.world.iceberg.exists and not self.alive())
    @rule()
    def expire_history(self) -> None:
        self.world.iceberg.expire()

    @invariant()
    def every_record_at_most_once(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        try:
            if not world.faults:
                world.check_end(world.settle_everything())
        finally:
            for name, worker in world.workers.items():
                if worker.alive:
                    world.kill(name, sent=False)
            shutil.rmtree(world.folder)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Interleavings]]:
    database = model_database(tmp_path / "ledger.db")
    source = tmp_path / "source"
    source.mkdir()
    model_engine(monkeypatch, lambda: Interleavings.current.owners)

    class Here(Interleavings):
        pass

    Here.database, Here.folder = database, source
    yield Here
    database.close()


def _settings(examples: int, **more: Any) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=25,
        derandomize=SEEDED,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        phases=(Phase.generate,) if os.environ.get("NOSHRINK") else tuple(Phase),
        suppress_health_check=list(HealthCheck),
        **more,
    )


def test_two_workers_in_any_order_load_every_record_once(machine: type[Interleavings]) -> None:
    run_state_machine_as_test(machine, settings=_settings(EXAMPLES))
