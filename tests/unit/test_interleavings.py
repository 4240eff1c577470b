"""Thousands of interleavings of two workers: every record once, whatever dies and whenever."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
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
from sqlalchemy import Connection
from tests.unit.model_table import Iceberg, Row
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

from autoloader_server.engine import batch_record, check, discover, load, replacing, run, settle
from autoloader_server.engine.batch_record import Batch
from autoloader_server.engine.work import Work

# The same 2,000 each time; `AUTOLOADER_TEST_INTERLEAVINGS=50000` hunts through so many others.
EXAMPLES = int(os.environ.get("AUTOLOADER_TEST_INTERLEAVINGS", "2000"))
SEEDED = "AUTOLOADER_TEST_INTERLEAVINGS" not in os.environ

names = st.sampled_from(["a", "b", "c", "d"])
kinds = st.sampled_from([GOOD, GOOD, GOOD, EMPTY, BAD_LOOK, BAD_READ])
workers = st.sampled_from(["A", "B"])
points = st.sampled_from(
    [
        "table.create_branch",
        "table.append",
        "table.append_nothing",
        "table.publish",
        "table.replace",
        "table.fast_forward",
        "table.drop_branch",
        "discovered",
        "prepared",
        "claimed",
        "claimed_again",
        "stage_recorded",
        "held",
        "published",
        "recorded",
        "burning",
        "burned",
        "burn_recorded",
        "write",
    ]
)


class Interleavings(RuleBasedStateMachine):
    """Everything that can happen around an ingestion, in any order."""

    database: ModelDatabase
    folder: Path
    worlds = 0
    current: World

    @initialize(
        batch_size=st.integers(1, 3),
        lineage=st.booleans(),
        beside=st.booleans(),
        foreign=st.booleans(),
        least=st.sampled_from([None, None, 2]),
        replaces=st.booleans(),
        files=st.lists(st.tuples(names, kinds), min_size=1, max_size=3),
    )
    def make(
        self,
        *,
        batch_size: int,
        lineage: bool,
        foreign: bool,
        beside: bool,
        least: int | None,
        replaces: bool,
        files: list[tuple[str, str]],
    ) -> None:
        cls = type(self)
        cls.worlds += 1
        folder = cls.folder / str(cls.worlds)
        folder.mkdir()
        self.world = World(cls.database, folder, batch_size, lineage or replaces, foreign, beside, least, replaces)
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
    @rule(local=st.booleans(), late=st.booleans(), point=points)
    def start(self, local: bool, late: bool, point: str) -> None:
        if late:
            self.world.expire_leases()
        name = "B" if "A" in self.alive() else "A"
        self.world.start(name, local=local)
        self.world.step_to(name, point)

    @precondition(lambda self: self.alive())
    @rule(who=workers, count=st.integers(1, 3))
    def step(self, who: str, count: int) -> None:
        self.world.step(self.pick(who), count)

    @precondition(lambda self: self.alive())
    @rule(who=workers, count=st.integers(4, 60))
    def go_on(self, who: str, count: int) -> None:
        self.world.step(self.pick(who), count)

    @precondition(lambda self: self.alive())
    @rule(who=workers, point=points)
    def go_on_to(self, who: str, point: str) -> None:
        self.world.step_to(self.pick(who), point)

    @precondition(lambda self: self.alive())
    @rule(who=workers, sent=st.booleans())
    def kill(self, who: str, sent: bool) -> None:
        self.world.kill(self.pick(who), sent=sent)

    @precondition(lambda self: self.alive())
    @rule(who=workers, point=points, sent=st.booleans())
    def go_on_and_die(self, who: str, point: str, sent: bool) -> None:
        name = self.pick(who)
        self.world.step_to(name, point)
        if self.world.workers[name].alive:
            self.world.kill(name, sent=sent)

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

    @precondition(lambda self: self.world.owners)
    @rule()
    def expire_leases(self) -> None:
        self.world.expire_leases()

    @precondition(lambda self: self.world.in_flight)
    @rule(number=st.integers(0, 3))
    def deliver(self, number: int) -> None:
        self.world.deliver(number)

    @precondition(lambda self: self.world.owners)
    @rule()
    def clear(self) -> None:
        self.world.clear()

    @precondition(lambda self: self.world.least is not None and self.world.held())
    @rule(number=st.integers(0, 3))
    def release(self, number: int) -> None:
        self.world.release(number)

    @precondition(lambda self: self.world.least is not None and self.world.held())
    @rule(number=st.integers(0, 3))
    def drop(self, number: int) -> None:
        self.world.drop(number)

    @precondition(lambda self: self.world.iceberg.exists)
    @rule()
    def somebody_commits(self) -> None:
        self.world.iceberg.append([(None, "theirs")])

    # An expiry takes away what is days old, not what a worker saw committed the moment before.
    @precondition(lambda self: self.world.iceberg.exists and not self.alive())
    @rule()
    def expire_history(self) -> None:
        self.world.expire_history()

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
    database = model_database(f"sqlite:///{tmp_path}/ledger.db")
    source = tmp_path / "source"
    source.mkdir()
    model_engine(monkeypatch, lambda: Interleavings.current.owners)

    class Here(Interleavings):
        pass

    Here.database, Here.folder = database, source
    yield Here
    database.close()


@pytest.fixture
def make_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[Callable[..., World]]:
    database = model_database(database_url)
    source = tmp_path / "source"
    source.mkdir()
    worlds: list[World] = []

    def make(*, batch_size: int = 3, lineage: bool = False, least: int | None = None, replaces: bool = False) -> World:
        worlds.append(
            World(database, source, batch_size, lineage or replaces, foreign=False, least=least, replaces=replaces)
        )
        return worlds[-1]

    model_engine(monkeypatch, lambda: worlds[-1].owners)
    yield make
    database.close()


MakeWorld = Callable[..., World]


def _run(world: World, name: str) -> str:
    world.start(name, local=True)
    world.finish(name)
    return world.outcome(name)


def test_where_nothing_is_new_the_table_is_not_asked(make_world: MakeWorld) -> None:
    world = make_world(lineage=True)
    world.put("a", GOOD)
    world.put("b", BAD_READ)
    assert _run(world, "A").startswith("partial")
    assert _run(world, "B") == "success: nothing new"
    assert world.workers["A"].asked
    assert not world.workers["B"].asked
    world.check_end(world.settle_everything())


def test_a_listing_that_is_old_by_now_is_not_written_down(make_world: MakeWorld) -> None:
    world = make_world()
    world.put("a", GOOD)
    world.start("A", local=True)
    assert world.step_to("A", "settled")
    assert world.step_to("A", "read")  # the page is listed
    world.put("a", GOOD)
    world.expire_leases()
    _run(world, "B")
    world.finish("A")
    world.check_end(world.settle_everything())


def test_a_worker_that_wakes_up_does_not_fail_a_file_that_was_mended_meanwhile(make_world: MakeWorld) -> None:
    world = make_world()
    world.put("a", BAD_READ)
    world.start("A", local=True)
    assert world.step_to("A", "burn_recorded")
    world.expire_leases()
    world.put("a", GOOD)
    world.start("B", local=True)
    assert world.step_to("B", "discovered")
    world.finish("A")
    world.finish("B")
    world.check_end(world.settle_everything())


def test_a_worker_that_wakes_up_claims_nothing_for_a_run_that_was_ended(make_world: MakeWorld) -> None:
    world = make_world()
    world.put("a", GOOD)
    world.start("A", local=True)
    assert world.step_to("A", "prepared")
    world.expire_leases()
    world.start("B", local=True)
    assert world.step_to("B", "discovered")
    world.finish("A")
    world.finish("B")
    assert world.outcome("B").startswith("success")
    assert len(world.iceberg.rows) == 1
    world.check_end(world.settle_everything())


def test_a_worker_that_wakes_up_gives_up_no_batch_that_another_one_loads(make_world: MakeWorld) -> None:
    world = make_world()
    world.put("a", GOOD)
    world.start("A", local=True)
    assert world.step_to("A", "claimed")
    world.cancel("A")
    assert world.step_to("A", "write")  # it has seen that nothing was staged, and is about to burn
    world.expire_leases()
    world.start("B", local=True)
    assert world.step_to("B", "published")
    world.finish("A")
    world.finish("B")
    world.check_end(world.settle_everything())
    assert world.outcome("B").startswith("success")


@pytest.mark.parametrize("point", ["published", "recorded"])
def test_a_cancellation_after_the_publish_undoes_nothing(make_world: MakeWorld, point: str) -> None:
    world = make_world()
    world.put("a", GOOD)
    world.start("A", local=True)
    assert world.step_to("A", point)
    world.cancel("A")
    world.finish("A")
    assert world.outcome("A").split(":")[0] in ("success", "cancelled")
    assert len(world.iceberg.rows) == 1
    world.check_end(world.settle_everything())


def test_a_publish_that_was_sent_long_ago_is_refused_though_the_mark_of_the_burning_was_expired(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    world.put("a", GOOD)
    world.start("A", local=True)
    assert world.step_to("A", "table.publish")
    world.kill("A", sent=True)
    world.put("a", GOOD)  # so the batch is burned
    world.start("B", local=True)
    assert world.step_to("B", "burn_recorded")
    world.kill("B", sent=False)
    world.expire_history()
    _run(world, "A")
    world.deliver(0)
    world.check_end(world.settle_everything())


def test_an_expired_history_is_not_taken_for_a_rolled_back_one_where_a_branch_kept_a_snapshot(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    world.put("a", GOOD)
    world.start("A", local=True)
    assert world.step_to("A", "recorded")
    world.kill("A", sent=False)
    world.expire_history()
    world.put("b", GOOD)
    world.check_end(world.settle_everything())


def test_where_the_proof_is_gone_nothing_is_guessed(make_world: MakeWorld) -> None:
    world = make_world(lineage=False)
    world.put("a", GOOD)
    world.start("A", local=True)
    assert world.step_to("A", "published")
    world.kill("A", sent=False)
    world.expire_history()
    assert "nobody can tell whether" in _run(world, "B")
    world.check_end(world.settle_everything())


def test_where_the_proof_is_gone_the_rows_themselves_tell(make_world: MakeWorld) -> None:
    world = make_world(lineage=True)
    world.put("a", GOOD)
    world.start("A", local=True)
    assert world.step_to("A", "published")
    world.kill("A", sent=False)
    world.expire_history()
    assert _run(world, "B").startswith("success")
    world.check_end(world.settle_everything())


def test_rows_from_before_a_clear_prove_nothing(make_world: MakeWorld) -> None:
    world = make_world(lineage=True)
    world.put("a", GOOD)
    assert _run(world, "A").startswith("success")
    world.clear()
    world.put("b", GOOD)
    world.start("A", local=True)
    assert world.step_to("A", "branch_created")
    world.kill("A", sent=False)
    world.expire_history()
    assert "nobody can tell whether" in _run(world, "B")
    world.clear()
    world.check_end(world.settle_everything())


def test_clearing_is_a_way_out_where_nobody_can_tell(make_world: MakeWorld) -> None:
    world = make_world()
    world.put("a", GOOD)
    world.start("A", local=True)
    assert world.step_to("A", "stage_recorded")
    world.kill("A", sent=False)
    world.expire_history()
    assert "nobody can tell whether" in _run(world, "B")
    world.clear()
    assert world.settle_everything().startswith("success")
    world.iceberg.expired = False
    world.check_end("success")


def _held(world: World) -> World:
    """A world with a file that is loaded, and one that is held."""
    world.put("a", GOOD)
    world.put("b", GOOD)
    assert _run(world, "A") == "success: None"
    world.put("c", GOOD)
    assert "1 file held back: a batch of 1 row" in _run(world, "A")
    assert len(world.held()) == 1
    assert len(world.iceberg.rows) == 2
    return world


def test_a_held_batch_is_not_loaded_again_and_once_when_it_is_released(make_world: MakeWorld) -> None:
    world = _held(make_world(least=2))
    staged = world.iceberg.branches
    assert _run(world, "B").startswith("success")
    assert len(world.iceberg.rows) == 2
    assert world.iceberg.branches == staged
    world.release()
    assert _run(world, "A") == "success: None"
    assert "append" not in world.workers["A"].asked, "it is staged already"
    assert len(world.iceberg.rows) == 3
    world.check_end(world.settle_everything())


def test_a_held_batch_is_released_also_when_the_history_of_its_time_was_expired(make_world: MakeWorld) -> None:
    world = _held(make_world(least=2))
    world.expire_history()
    world.release()
    assert _run(world, "A") == "success: None"
    world.check_end(world.settle_everything())


def test_a_batch_whose_branch_was_dropped_while_it_was_held_is_staged_again(make_world: MakeWorld) -> None:
    world = _held(make_world(least=2))
    for branch in list(world.iceberg.branches):
        world.iceberg.drop_branch(branch)
    world.expire_history()
    world.release()
    assert _run(world, "A") == "success: None"
    assert "append" in world.workers["A"].asked
    assert len([row for row in world.iceberg.rows if row[0] is not None]) == 3
    world.check_end(world.settle_everything())


def test_a_file_that_changes_while_it_is_held_is_loaded_in_its_new_content_alone(make_world: MakeWorld) -> None:
    world = _held(make_world(least=2))
    world.put("c", GOOD)
    assert _run(world, "B").startswith("success")
    assert len(world.held()) == 1
    world.release()
    assert "1 file held back" in _run(world, "A"), "it is another batch now"
    world.release()
    _run(world, "A")
    assert [text for path, text in world.iceberg.rows if path and path.endswith("c.csv")] == ["good 4"]
    world.check_end(world.settle_everything())


def test_a_dropped_batch_is_loaded_only_when_its_file_changes_or_after_a_clear(make_world: MakeWorld) -> None:
    world = _held(make_world(least=2))
    world.drop()
    assert _run(world, "A").startswith("success")
    assert not world.iceberg.branches
    assert _run(world, "B").startswith("success")
    assert len(world.iceberg.rows) == 2
    world.put("c", GOOD)
    world.judge_by(None)
    assert _run(world, "A").startswith("success")
    assert len(world.iceberg.rows) == 3
    world.check_end(world.settle_everything())


@pytest.mark.parametrize("dropped", [False, True])
def test_what_was_held_or_dropped_is_loaded_after_a_clear(make_world: MakeWorld, *, dropped: bool) -> None:
    world = _held(make_world(least=2))
    if dropped:
        world.drop()
    world.clear()
    world.judge_by(None)
    assert _run(world, "A").startswith("success")
    assert len(world.iceberg.rows) == 5
    world.check_end(world.settle_everything())


def test_a_dropped_batch_is_dropped_also_where_its_table_is_gone(make_world: MakeWorld) -> None:
    world = _held(make_world(least=2))
    world.iceberg.drop()
    world.drop()
    assert _run(world, "A").startswith("success")
    assert [path for path, _ in world.versions("SKIPPED")] == [str(world.folder / "c.csv")]
    world.clear()
    world.cleared.clear()  # those rows went with the table
    world.check_end(world.settle_everything())


def test_a_released_batch_whose_table_is_gone_says_so_and_is_loaded_after_a_clear(make_world: MakeWorld) -> None:
    world = _held(make_world(least=2))
    world.iceberg.drop()
    world.release()
    assert "is gone" in _run(world, "A")
    world.clear()
    world.cleared.clear()  # those rows went with the table
    world.check_end(world.settle_everything())


def test_what_was_judged_once_is_not_judged_again_by_another_rule(make_world: MakeWorld) -> None:
    world = make_world()
    world.put("a", GOOD)
    world.start("A", local=True)
    assert world.step_to("A", "judged")
    world.judge_by(2)
    world.expire_leases()
    assert _run(world, "B") == "success: None"
    world.finish("A")
    assert len(world.iceberg.rows) == 1
    world.check_end(world.settle_everything())


def _changed(make_world: MakeWorld) -> World:
    """A file was loaded, and has changed since."""
    world = make_world(replaces=True)
    world.put("a", GOOD)
    assert _run(world, "A") == "success: None"
    world.put("a", GOOD)
    return world


def test_what_a_sleeper_staged_replaces_nothing_after_its_batch_was_burned(make_world: MakeWorld) -> None:
    world = _changed(make_world)
    world.start("A", local=False)
    assert world.step_to("A", "table.fast_forward")
    world.expire_leases()
    world.put("a", GOOD)
    assert _run(world, "B") == "success: None"
    world.finish("A")
    assert [text for _, text in world.iceberg.rows] == ["good 3"]
    world.check_end(world.settle_everything())


def test_what_was_published_while_its_batch_was_burned_is_seen(make_world: MakeWorld) -> None:
    world = make_world(replaces=True)
    world.put("a", GOOD)
    first = world.folder / "a.csv"
    text, moment = first.read_text(), first.stat().st_mtime
    assert _run(world, "A") == "success: None"
    world.put("a", GOOD)
    world.start("A", local=True)
    assert world.step_to("A", "table.fast_forward")
    world.kill("A", sent=True)
    # The file is again what it was first.
    first.write_text(text)
    os.utime(first, (moment, moment))
    world.start("B", local=True)
    assert world.step_to("B", "burn_staged")
    world.deliver(0)
    world.finish("B")
    assert [text for _, text in world.iceberg.rows] == ["good 1"]
    world.check_end(world.settle_everything())


def test_what_was_loaded_between_the_steps_of_a_clear_is_missed_when_its_table_is_dropped(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    world.put("a", GOOD)
    assert _run(world, "A").startswith("success")
    write, steps = world.database.write, iter(range(4))

    def write_last_after_a_run() -> AbstractContextManager[Connection]:
        if threading.current_thread() is threading.main_thread() and next(steps, 0) == 3:
            assert _run(world, "B").startswith("success")
        return write()

    monkeypatch.setattr(world.database, "write", write_last_after_a_run)
    world.clear()
    world.iceberg.drop()
    world.put("b", GOOD)
    assert "is gone" in _run(world, "A")
    world.clear()
    world.cleared.clear()  # those rows went with the table
    world.check_end(world.settle_everything())


def _settings(examples: int, **more: Any) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=15,
        derandomize=SEEDED,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        **more,
    )


def test_two_workers_in_any_order_load_every_record_once(machine: type[Interleavings]) -> None:
    run_state_machine_as_test(machine, settings=_settings(EXAMPLES))


def _without_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Iceberg.append

    def append(
        self: Iceberg,
        added: Sequence[Row],
        branch: str | None = None,
        wap_id: str | None = None,
        gone: Sequence[str] = (),
    ) -> None:
        original(self, added, branch, gone=gone)

    monkeypatch.setattr(Iceberg, "append", append)


def _without_the_empty_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "_never_staged", lambda work, batch: True)


def _without_a_second_look_at_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "_audit", lambda work, files: None)


def _without_waiting_for_the_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check.Check, "verdict", lambda self: None)


def _taking_what_is_not_seen_for_not_landed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "_decide_by_lineage", lambda work, batch: load.burn(work, batch, "a guess"))


def _leaving_branches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "drop_branches", lambda work: None)


def _staging_again_under_another_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead worker's batch is given up for a new one without a word to the table."""

    def give_up(work: Work, batch: Batch) -> None:
        with work.database.write() as connection:
            batch_record.end_burning(connection, work.lease, batch.id)

    monkeypatch.setattr(settle, "_settle", give_up)


@pytest.mark.parametrize(
    "break_it",
    [
        _without_an_id,
        _without_a_second_look_at_the_files,
        _without_waiting_for_the_looks,
        _leaving_branches,
        _staging_again_under_another_id,
    ],
)
def test_the_machine_finds_a_broken_engine(
    machine: type[Interleavings],
    monkeypatch: pytest.MonkeyPatch,
    break_it: Callable[[pytest.MonkeyPatch], None],
) -> None:
    break_it(monkeypatch)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=_settings(EXAMPLES, phases=[Phase.generate]))


def _publishing_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = load.judge
    monkeypatch.setattr(load, "judge", lambda work, batch, staged: judge(work, batch, staged) or True)


def _taking_held_files_for_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discover._Known, "in_batch", property(lambda self: self.status == "PROCESSING"))


def _judging_again(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = load.judge
    monkeypatch.setattr(load, "judge", lambda work, batch, staged: judge(work, replace(batch, verdict=None), staged))


def _publishing_replacements_by_cherry_pick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replacing, "publish", lambda work, _, snapshot: bool(work.table.publish(snapshot.id)))


def _burning_without_a_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    burn, landed = load._burn, replacing.landed

    def blind(*args: Any) -> bool:
        with monkeypatch.context() as patched:
            patched.setattr(replacing, "landed", lambda *_: None)
            done = burn(*args)
        assert replacing.landed is landed
        return done

    monkeypatch.setattr(load, "_burn", blind)


@pytest.mark.parametrize(
    ("break_it", "scenario"),
    [
        (
            _publishing_replacements_by_cherry_pick,
            test_what_a_sleeper_staged_replaces_nothing_after_its_batch_was_burned,
        ),
        (_burning_without_a_second_look, test_what_was_published_while_its_batch_was_burned_is_seen),
        (
            _without_the_empty_commit,
            test_a_publish_that_was_sent_long_ago_is_refused_though_the_mark_of_the_burning_was_expired,
        ),
        (_taking_what_is_not_seen_for_not_landed, test_where_the_proof_is_gone_nothing_is_guessed),
        (_leaving_branches, test_where_nothing_is_new_the_table_is_not_asked),
        (_publishing_what_is_held, test_a_held_batch_is_not_loaded_again_and_once_when_it_is_released),
        (_taking_held_files_for_new, test_a_file_that_changes_while_it_is_held_is_loaded_in_its_new_content_alone),
        (_judging_again, test_what_was_judged_once_is_not_judged_again_by_another_rule),
    ],
)
def test_the_scenarios_find_a_broken_engine(
    make_world: MakeWorld,
    monkeypatch: pytest.MonkeyPatch,
    break_it: Callable[[pytest.MonkeyPatch], None],
    scenario: Callable[[MakeWorld], None],
) -> None:
    break_it(monkeypatch)
    with pytest.raises(AssertionError):
        scenario(make_world)
