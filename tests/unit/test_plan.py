"""A plan says of each file what the run that follows does; and it writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, insert, select, update

from autoloader_sdk.discovery.entries import Entry, identity
from autoloader_sdk.discovery.store import LocalStore
from autoloader_sdk.models import FileStatus, IngestionCreate
from autoloader_server.db.clock import now
from autoloader_server.db.engine import Database
from autoloader_server.db.tables import batches, ingestions, processed_files
from autoloader_server.engine import discover as discovery
from autoloader_server.engine import ledger
from autoloader_server.engine import plan as module
from autoloader_server.engine.discover import discover
from autoloader_server.engine.plan import Ledger, plan

ING, OTHER, TABLE = "ing-1", "ing-2", "table-1"
ROOT = "/source"
MADE = datetime(2026, 1, 1, tzinfo=UTC)
STORE = LocalStore(ROOT)
ATTEMPTS = 3


def spec(**source: Any) -> IngestionCreate:
    return IngestionCreate.model_validate(
        {
            "name": "n",
            "source": {"type": "local", "path": ROOT, **source},
            "format": {"type": "csv"},
            "destination": {"catalog": "lake", "database": "b", "table": "t"},
        }
    )


def empty(database: Database) -> None:
    made = {"status": "active", "spec": {}, "created_at": MADE, "updated_at": MADE, "table_uuid": TABLE}
    with database.write() as connection:
        for table in (processed_files, batches, ingestions):
            connection.execute(delete(table))
        connection.execute(insert(ingestions), [{"id": each, "name": each, **made} for each in (ING, OTHER)])


@pytest.fixture
def database(quick_database: Database) -> Database:
    empty(quick_database)
    return quick_database


List = Callable[..., None]


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> List:
    """Sets what the source has, in pages."""

    def to(*pages: Sequence[Entry]) -> None:
        for each in (module, discovery):
            monkeypatch.setattr(each, "list_source", lambda store, pattern: iter([list(p) for p in pages if p]))

    return to


def entry(name: str, version: int = 1, *, size: int = 10, problem: str | None = None) -> Entry:
    return Entry(f"{ROOT}/{name}", size, 1_800_000_000 * 10**9 + version, None, problem)


def add(database: Database, listed: Entry, status: str, **more: Any) -> None:
    values = {"ingestion_id": ING, "ordinal": 1, "status": status, **ledger.listed(listed), **more}
    with database.write() as connection:
        connection.execute(insert(processed_files).values(values))


def batch(database: Database, name: str, *, of: str = OTHER, table: str = TABLE) -> str:
    values = {
        "id": name,
        "ingestion_id": of,
        "run_id": "r",
        "generation": 0,
        "status": "LANDED",
        "files": 1,
        "bytes": 1,
    }
    values |= {"table_name": "t", "table_uuid": table, "base_snapshot_id": 1, "created_at": MADE}
    with database.write() as connection:
        connection.execute(insert(batches).values(values))
    return name


def known_in(database: Database) -> Ledger:
    return Ledger(database, ING, TABLE, ATTEMPTS)


def planned(database: Database, would: IngestionCreate | None = None) -> dict[str, tuple[str, str]]:
    """Action and reason, by name."""
    found = list(plan(known_in(database), STORE, would or spec(), MADE))
    by_name = {each.entry.path.removeprefix(f"{ROOT}/"): (each.action.value, each.reason) for each in found}
    assert len(by_name) == len(found), "a file stands in a plan once"
    return by_name


def test_of_one_that_is_to_be_made_all_data_is_new(database: Database, lists: List) -> None:
    add(database, entry("a.csv"), FileStatus.SUCCESS)
    data = [entry("a.csv"), entry("b.csv", problem="a newline")]
    lists([*data, entry("_SUCCESS"), entry("empty.csv", size=0), entry("_tmp/c.csv")])
    nobody = Ledger(database, "", None, ATTEMPTS)
    found = {each.entry.path: (each.action, each.reason, each.detail) for each in plan(nobody, STORE, spec(), MADE)}
    assert found == {
        f"{ROOT}/a.csv": ("load", "new", None),
        f"{ROOT}/_SUCCESS": ("skip", "job marker _SUCCESS", None),
        f"{ROOT}/empty.csv": ("skip", "empty file", None),
        f"{ROOT}/_tmp/c.csv": ("skip", "hidden folder", "hidden folder _tmp"),
        f"{ROOT}/b.csv": ("fail", "unreadable name", "a newline"),
    }


def test_what_is_on_record_is_told_with_its_reason(database: Database, lists: List) -> None:
    past, future = now() - timedelta(minutes=1), now() + timedelta(hours=1)
    failed: dict[str, Any] = {"retryable": True, "attempts": 1, "reason": "the store was away", "next_attempt_at": past}
    names = ("new", "waits", "begun", "loaded", "due", "later", "often", "bad", "held", "batch", "dropped")
    add(database, entry("waits"), FileStatus.DISCOVERED)
    add(database, entry("begun"), FileStatus.PROCESSING, batch_id="b", run_id="r")
    add(database, entry("loaded"), FileStatus.SUCCESS, loaded_at=MADE, run_id="r")
    add(database, entry("due"), FileStatus.FAILED, **failed)
    add(database, entry("later"), FileStatus.FAILED, **failed | {"next_attempt_at": future})
    add(database, entry("often"), FileStatus.FAILED, **failed | {"attempts": ATTEMPTS})
    add(database, entry("bad"), FileStatus.FAILED, **failed | {"retryable": False, "next_attempt_at": None})
    add(database, entry("held"), FileStatus.HELD, reason="changed after it was loaded")
    add(database, entry("batch"), FileStatus.HELD, batch_id="b", reason="too few rows")
    add(database, entry("odd", size=0), FileStatus.SKIPPED, reason="empty file")
    add(database, entry("dropped"), FileStatus.SKIPPED, reason="dropped by a call")
    add(database, entry("gone"), FileStatus.DISCOVERED)
    add(database, entry("gone, and loaded"), FileStatus.SUCCESS)
    lists([*(entry(name) for name in names), entry("odd", size=0)])
    assert planned(database) == {
        "new": ("load", "new"),
        "waits": ("load", "waits"),
        "begun": ("load", "begun"),
        "loaded": ("skip", "loaded before"),
        "due": ("load", "failed before"),
        "later": ("skip", "failed before"),
        "often": ("skip", "failed before"),
        "bad": ("skip", "failed before"),
        "held": ("hold", "changed"),
        "batch": ("hold", "its batch is held"),
        "odd": ("skip", "empty file"),
        "dropped": ("skip", "left out before"),
        "gone": ("fail", "not there any more"),
    }


@pytest.mark.parametrize(("rule", "action"), [("hold", "hold"), ("append", "load")])
def test_a_changed_file_is_told_with_both_versions(database: Database, lists: List, rule: str, action: str) -> None:
    add(database, entry("a.csv"), FileStatus.SUCCESS)
    lists([entry("a.csv", 2)])
    (found,) = plan(known_in(database), STORE, spec(on_changed_file=rule), MADE)
    assert (found.action, found.reason) == (action, "changed")
    assert found.detail == "10-1800000000000000001 → 10-1800000000000000002"
    # It was held back by an earlier rule: so it is again by this one, or it is loaded.
    add(database, entry("b.csv"), FileStatus.HELD, reason="changed after it was loaded")
    lists([entry("b.csv")])
    (found,) = plan(known_in(database), STORE, spec(on_changed_file=rule), MADE)
    assert (found.action, found.reason) == (action, "changed")


def test_what_another_ingestion_brings_into_the_same_table_is_left_to_it(database: Database, lists: List) -> None:
    theirs: dict[str, Any] = {"ingestion_id": OTHER, "batch_id": batch(database, "b")}
    elsewhere = {"ingestion_id": OTHER, "batch_id": batch(database, "c", table="another")}
    add(database, entry("loaded"), FileStatus.SUCCESS, **theirs)
    add(database, entry("loading"), FileStatus.PROCESSING, **theirs)
    add(database, entry("elsewhere"), FileStatus.SUCCESS, **elsewhere)
    lists([entry("loaded"), entry("loading"), entry("elsewhere")])
    assert planned(database) == {
        "loaded": ("skip", "left to another ingestion"),
        "loading": ("skip", "left to another ingestion"),
        "elsewhere": ("load", "new"),
    }


class Bucket(LocalStore):
    """Lists as object stores may; what is there is asked one by one."""

    def __init__(self, *there: Entry) -> None:
        super().__init__(ROOT)
        self.there = {each.path: each for each in there}

    def stat_all(self, paths: Sequence[str]) -> list[Entry | OSError]:
        return [self.there.get(path) or FileNotFoundError(path) for path in paths]


def test_what_a_store_lists_once_more_stands_in_the_plan_once(
    database: Database, lists: List, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LocalStore", type(None))  # it is asked for those that list each file once
    pages = [[entry("a"), entry("b")], [entry("c")]]
    lists(*pages, *pages, [entry("d")])
    assert planned(database) == dict.fromkeys("abcd", ("load", "new"))


def test_a_file_that_waits_and_is_not_listed_is_asked_for(database: Database, lists: List) -> None:
    """The pattern may have been another one when it was found: a run loads what waits, whatever the pattern is now."""
    due: dict[str, Any] = {"retryable": True, "attempts": 1, "reason": "r", "next_attempt_at": MADE}
    add(database, entry("there"), FileStatus.DISCOVERED)
    add(database, entry("due"), FileStatus.FAILED, **due)
    add(database, entry("begun"), FileStatus.PROCESSING, batch_id="b", run_id="r")
    add(database, entry("gone"), FileStatus.DISCOVERED)
    lists([])
    known = known_in(database)
    found = plan(known, Bucket(entry("there"), entry("due")), spec(), MADE)
    assert {each.entry.path.removeprefix(f"{ROOT}/"): (each.action, each.reason) for each in found} == {
        "there": ("load", "waits"),
        "due": ("load", "failed before"),
        "begun": ("load", "begun"),
        "gone": ("fail", "not there any more"),
    }


def test_files_of_a_batch_that_was_dropped_are_left_out(database: Database, lists: List) -> None:
    dropped = batch(database, "b", of=ING)
    with database.write() as connection:
        connection.execute(update(batches).values(status="BURNING", verdict="DROPPED"))
    for name in ("same", "changed", "gone"):
        add(database, entry(name), FileStatus.PROCESSING, batch_id=dropped, reason="dropped by a call")
    lists([entry("same"), entry("changed", 2)])
    assert planned(database) == {"same": ("skip", "left out before"), "changed": ("load", "new")}


def test_what_a_run_writes_meanwhile_stands_in_the_plan_once(database: Database, lists: List) -> None:
    lists([entry("a")], [entry("b")])
    going = plan(known_in(database), STORE, spec(), MADE)
    found = [next(going)]
    add(database, entry("a"), FileStatus.DISCOVERED)
    found += going
    assert [each.entry.path for each in found] == [f"{ROOT}/a", f"{ROOT}/b"]


def test_a_plan_writes_nothing(database: Database, lists: List) -> None:
    add(database, entry("a.csv"), FileStatus.SUCCESS)
    add(database, entry("b.csv"), FileStatus.FAILED, retryable=True, next_attempt_at=MADE)
    everything = select(processed_files).order_by(processed_files.c.id)
    with database.read() as connection:
        before = connection.execute(everything).all()
    lists([entry("a.csv", 2), entry("b.csv"), entry("c.csv")])
    planned(database)
    with database.read() as connection:
        assert connection.execute(everything).all() == before


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """What tells the worker's time when it lists."""
    clock = Mock()
    monkeypatch.setattr(discovery, "time", SimpleNamespace(time_ns=clock))
    return clock


names = st.text(st.sampled_from("aZ_.ü~ "), min_size=1, max_size=2).map(lambda text: f"d{text}.csv")
recorded = st.tuples(
    st.sampled_from(
        [FileStatus.DISCOVERED, FileStatus.FAILED, FileStatus.SUCCESS, FileStatus.SKIPPED, FileStatus.HELD]
    ),
    st.integers(1, 2),  # the version
    st.booleans(),  # retryable
    st.integers(0, ATTEMPTS),
    st.booleans(),  # its time has come
)
at_source = st.tuples(st.integers(1, 3), st.sampled_from([0, 10]), st.sampled_from([None, None, "a newline"]))


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, derandomize=True
)
@given(
    known=st.dictionaries(names, recorded, max_size=8),
    source=st.dictionaries(names, at_source, max_size=8),
    page=st.integers(1, 4),
    rule=st.sampled_from(["hold", "append"]),
    age=st.sampled_from([0, 0, 60]),
    random=st.randoms(use_true_random=False),
)
def test_the_plan_is_what_the_first_steps_of_a_run_then_write(
    database: Database,
    lists: List,
    clock: Mock,
    known: dict[str, Any],
    source: dict[str, Any],
    page: int,
    rule: str,
    age: int,
    random: Any,
) -> None:
    empty(database)
    rules = spec(on_changed_file=rule, min_age_seconds=age)
    clock.return_value = entry("any").modified_ns + 10**9
    for name, (status, version, retryable, attempts, due) in known.items():
        when = MADE if due else now() + timedelta(hours=1)
        add(
            database,
            entry(name, version),
            status,
            reason="some reason",
            **({"retryable": retryable, "attempts": attempts, "next_attempt_at": when} if status == "FAILED" else {}),
        )
    entries = [entry(name, version, size=size, problem=p) for name, (version, size, p) in source.items()]
    random.shuffle(entries)
    lists(*(entries[start : start + page] for start in range(0, len(entries), page)))
    would = planned(database, rules)

    def ours(connection: Connection) -> None:
        """The run is still ours."""

    found = discover(database, ING, STORE, rules, MADE, ours)
    ledger.take_up(database, ING, ATTEMPTS, hold_changed=rule == "hold")
    files = processed_files.c
    with database.read() as connection:
        rows = connection.execute(select(files.path, files.status).where(files.current)).tuples().all()
    became = {path.removeprefix(f"{ROOT}/"): status for path, status in rows}
    unreadable = {path.removeprefix(f"{ROOT}/") for path, _ in found.unreadable}
    # All of these files were written just now.
    young = {
        name
        for name, (version, size, problem) in source.items()
        if age and size and problem is None
        if name not in known or identity(entry(name, version, size=size)) != identity(entry(name, known[name][1]))
    }
    assert {path.removeprefix(f"{ROOT}/") for path in found.young} == young
    expected = dict.fromkeys(young, "hold")
    for name, status in became.items():
        if name in young:
            continue
        match status:
            case FileStatus.DISCOVERED:
                # What is not at the source any more, the run finds out when it opens it.
                expected[name] = "load" if name in source else "fail"
            case FileStatus.HELD if name in source:
                expected[name] = "hold"
            case _ if name in source:
                expected[name] = "fail" if name in unreadable else "skip"
    assert {name: action for name, (action, _) in would.items()} == expected
