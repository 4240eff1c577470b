"""The source against the ledger: right in any order of pages, and only for the run that owns it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, func, insert, select, update

from autoloader_sdk.discovery.entries import Entry, identity
from autoloader_sdk.discovery.store import LocalStore
from autoloader_sdk.models import FileStatus, IngestionCreate
from autoloader_server.db.engine import Database
from autoloader_server.db.tables import ingestions, processed_files, runs
from autoloader_server.engine import discover as module
from autoloader_server.engine import ledger
from autoloader_server.engine.discover import Found, discover
from autoloader_server.engine.errors import AUTH, DATA_MALFORMED, MISSING, FileFailure, LeaseLost

ING = "ing-1"
ROOT = "/source"
MADE = datetime(2026, 1, 1, tzinfo=UTC)
SPEC = IngestionCreate.model_validate(
    {
        "name": "n",
        "source": {"type": "local", "path": ROOT},
        "format": {"type": "csv"},
        "destination": {"catalog": "lake", "database": "b", "table": "t"},
    }
)
STORE = LocalStore(ROOT)
NOT_LOADED = (FileStatus.DISCOVERED, FileStatus.FAILED, FileStatus.SKIPPED)
STATUSES = (*NOT_LOADED, FileStatus.PROCESSING, FileStatus.SUCCESS, FileStatus.HELD)

Compare = Callable[..., Found]


@pytest.fixture
def database(quick_database: Database) -> Database:
    empty(quick_database)
    return quick_database


def empty(database: Database) -> None:
    with database.write() as connection:
        connection.execute(delete(processed_files))
        connection.execute(delete(ingestions))
        row = {"id": ING, "name": "n", "status": "active", "spec": {}, "created_at": MADE, "updated_at": MADE}
        connection.execute(insert(ingestions).values(row))


def ours(connection: Connection) -> None:
    """The run is still ours."""


@pytest.fixture
def compare(database: Database, monkeypatch: pytest.MonkeyPatch) -> Compare:
    """Compare with pages instead of a store."""

    def run(*pages: Sequence[Entry], spec: IngestionCreate = SPEC, ingestion_id: str = ING) -> Found:
        monkeypatch.setattr(module, "list_source", lambda store, pattern: iter([list(p) for p in pages if p]))
        return discover(database, ingestion_id, STORE, spec, MADE, ours)

    return run


def entry(name: str, version: int = 1, *, size: int = 10, problem: str | None = None) -> Entry:
    return Entry(f"{ROOT}/{name}", size, 1_800_000_000 * 10**9 + version, None, problem)


def add(database: Database, listed: Entry, status: str, *, ordinal: int = 1, **more: Any) -> None:
    with database.write() as connection:
        values = {"ingestion_id": ING, "ordinal": ordinal, "status": status, **ledger.listed(listed), **more}
        connection.execute(insert(processed_files).values(values))


def rows(database: Database, name: str | None = None) -> list[tuple[int, str, str, bool]]:
    """Ordinal, identity, status and whether it is current, by path and ordinal."""
    files = processed_files.c
    query = select(files.ordinal, files.identity, files.status, files.current)
    query = query.order_by(files.path, files.ordinal)
    if name is not None:
        query = query.where(files.path == f"{ROOT}/{name}")
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(query)]


def reason(database: Database, name: str) -> str | None:
    with database.read() as connection:
        return connection.execute(
            select(processed_files.c.reason).where(
                processed_files.c.path == f"{ROOT}/{name}", processed_files.c.current
            )
        ).scalar_one()


def test_a_new_file_waits(database: Database, compare: Compare) -> None:
    found = compare([entry("a.csv")])
    assert (found.listed, found.new, found.held, found.skipped, found.unreadable) == (1, 1, 0, 0, [])
    assert rows(database) == [(1, identity(entry("a.csv")), FileStatus.DISCOVERED, True)]


def test_a_file_that_is_known_is_not_written_again(database: Database, compare: Compare) -> None:
    compare([entry("a.csv")])
    before = rows(database)
    assert compare([entry("a.csv")]).new == 0
    assert rows(database) == before


@pytest.mark.parametrize("status", STATUSES)
def test_nothing_is_done_about_the_same_version_whatever_became_of_it(
    database: Database, compare: Compare, status: str
) -> None:
    add(database, entry("a.csv"), status)
    found = compare([entry("a.csv")])
    assert (found.new, found.held, found.skipped) == (0, 0, 0)
    assert rows(database) == [(1, identity(entry("a.csv")), status, True)]


@pytest.mark.parametrize("status", NOT_LOADED)
def test_a_changed_file_that_was_never_loaded_is_superseded(database: Database, compare: Compare, status: str) -> None:
    add(database, entry("a.csv", 1), status)
    assert compare([entry("a.csv", 2)]).new == 1
    assert rows(database) == [
        (1, identity(entry("a.csv", 1)), FileStatus.SKIPPED, False),
        (2, identity(entry("a.csv", 2)), FileStatus.DISCOVERED, True),
    ]


def test_a_changed_file_whose_rows_are_in_the_table_is_held(database: Database, compare: Compare) -> None:
    add(database, entry("a.csv", 1), FileStatus.SUCCESS)
    assert compare([entry("a.csv", 2)]).held == 1
    assert rows(database) == [
        (1, identity(entry("a.csv", 1)), FileStatus.SUCCESS, False),
        (2, identity(entry("a.csv", 2)), FileStatus.HELD, True),
    ]
    told = reason(database, "a.csv") or ""
    assert identity(entry("a.csv", 1)) in told
    assert identity(entry("a.csv", 2)) in told


APPENDING = SPEC.model_copy(update={"source": SPEC.source.model_copy(update={"on_changed_file": "append"})})


def test_a_changed_file_is_loaded_too_where_the_rule_is_append_and_no_version_twice(
    database: Database, compare: Compare
) -> None:
    add(database, entry("a.csv", 1), FileStatus.SUCCESS)
    assert (found := compare([entry("a.csv", 2)], spec=APPENDING)).new == found.changed == 1
    with database.write() as connection:
        connection.execute(update(processed_files).where(processed_files.c.current).values(status=FileStatus.SUCCESS))
    assert (compare([entry("a.csv", 1)], spec=APPENDING)).new == 0
    assert rows(database) == [
        (1, identity(entry("a.csv", 1)), FileStatus.SUCCESS, False),
        (2, identity(entry("a.csv", 2)), FileStatus.SUCCESS, False),
        (3, identity(entry("a.csv", 1)), FileStatus.SKIPPED, True),
    ]


def test_a_file_that_is_again_what_was_loaded_before_when_its_batch_is_cut_anew_is_not_loaded_twice(
    database: Database, compare: Compare
) -> None:
    add(database, entry("a.csv", 1), FileStatus.SUCCESS)
    compare([entry("a.csv", 2)], spec=APPENDING)
    with database.write() as connection:
        ledger.supersede(connection, ING, entry("a.csv", 3))
        ledger.supersede(connection, ING, entry("a.csv", 1))
    assert [row[1:] for row in rows(database)] == [
        (identity(entry("a.csv", 1)), FileStatus.SUCCESS, False),
        (identity(entry("a.csv", 2)), FileStatus.SKIPPED, False),
        (identity(entry("a.csv", 3)), FileStatus.SKIPPED, False),
        (identity(entry("a.csv", 1)), FileStatus.SKIPPED, True),
    ]
    assert reason(database, "a.csv") == ledger.LOADED_BEFORE


def test_a_held_file_that_changes_again_is_held_still(database: Database, compare: Compare) -> None:
    add(database, entry("a.csv", 1), FileStatus.SUCCESS)
    compare([entry("a.csv", 2)])
    compare([entry("a.csv", 3)])
    assert rows(database) == [
        (1, identity(entry("a.csv", 1)), FileStatus.SUCCESS, False),
        (2, identity(entry("a.csv", 2)), FileStatus.SKIPPED, False),
        (3, identity(entry("a.csv", 3)), FileStatus.HELD, True),
    ]


def test_a_file_that_is_again_as_it_was_loaded_is_not_held(database: Database, compare: Compare) -> None:
    add(database, entry("a.csv", 1), FileStatus.SUCCESS)
    compare([entry("a.csv", 2)])
    again = compare([entry("a.csv", 1)])
    assert (again.held, again.skipped) == (0, 1)
    assert [row[2:] for row in rows(database)] == [
        (FileStatus.SUCCESS, False),
        (FileStatus.SKIPPED, False),
        (FileStatus.SKIPPED, True),
    ]
    assert reason(database, "a.csv") == "it is again what was loaded before: its rows are there"


def test_a_file_that_is_being_loaded_is_left_to_whoever_loads_it(database: Database, compare: Compare) -> None:
    add(database, entry("a.csv", 1), FileStatus.PROCESSING)
    found = compare([entry("a.csv", 2)])
    assert (found.new, found.held) == (0, 0)
    assert rows(database) == [(1, identity(entry("a.csv", 1)), FileStatus.PROCESSING, True)]


def test_a_file_that_was_empty_waits_when_it_has_data(database: Database, compare: Compare) -> None:
    assert compare([entry("a.csv", 1, size=0)]).skipped == 1
    assert reason(database, "a.csv") == "empty file"
    assert compare([entry("a.csv", 2)]).new == 1
    assert [row[2:] for row in rows(database)] == [(FileStatus.SKIPPED, False), (FileStatus.DISCOVERED, True)]


def test_what_is_not_data_is_skipped_with_the_reason(database: Database, compare: Compare) -> None:
    found = compare([entry("_SUCCESS"), entry("_temporary/part.csv"), entry("x.crc")])
    assert (found.listed, found.new, found.skipped) == (3, 0, 3)
    assert reason(database, "_SUCCESS") == "job marker _SUCCESS"
    assert reason(database, "x.crc") == "checksum file"


def test_a_name_that_the_engine_can_not_read_fails_and_is_told(database: Database, compare: Compare) -> None:
    found = compare([entry("a.csv", problem="its name holds a newline")])
    assert found.unreadable == [(f"{ROOT}/a.csv", "its name holds a newline")]
    assert rows(database)[0][2] == FileStatus.FAILED


def test_files_from_before_are_skipped_where_the_ingestion_says_so(database: Database, compare: Compare) -> None:
    spec = SPEC.model_copy(update={"source": SPEC.source.model_copy(update={"include_existing": False})})
    old = Entry(f"{ROOT}/old.csv", 10, int(MADE.timestamp()) * 10**9)
    new = Entry(f"{ROOT}/new.csv", 10, int(MADE.timestamp()) * 10**9 + 1)
    found = compare([new, old], spec=spec)
    assert (found.new, found.skipped) == (1, 1)
    assert rows(database, "old.csv")[0][2] == FileStatus.SKIPPED


def test_another_ingestions_files_are_its_own(database: Database, compare: Compare) -> None:
    compare([entry("a.csv")], ingestion_id="another")
    assert compare([entry("a.csv")]).new == 1
    assert len(rows(database)) == 2


def test_a_run_that_was_ended_by_somebody_else_writes_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(connection: Connection) -> None:
        raise LeaseLost("run-1")

    monkeypatch.setattr(module, "list_source", lambda store, pattern: iter([[entry("a.csv")]]))
    with pytest.raises(LeaseLost):
        discover(database, ING, STORE, SPEC, MADE, lost)
    assert rows(database) == []


def test_what_another_worker_listed_meanwhile_is_not_written_twice(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "list_source", lambda store, pattern: iter([[entry("a.csv"), entry("b.csv")]]))

    def meanwhile(connection: Connection) -> None:
        """Between the first look and the transaction: it holds the write lock by now."""
        connection.execute(
            insert(processed_files).values(
                ingestion_id=ING, ordinal=1, status=FileStatus.SUCCESS, **ledger.listed(entry("a.csv"))
            )
        )

    assert discover(database, ING, STORE, SPEC, MADE, meanwhile).new == 1
    assert [row[2] for row in rows(database)] == [FileStatus.SUCCESS, FileStatus.DISCOVERED]


@pytest.mark.parametrize("count", [10_000, 10_001])
def test_a_page_more_or_less_makes_no_difference(database: Database, tmp_path: Path, count: int) -> None:
    """By the real listing: its pages are of 10,000."""
    source = tmp_path / "source"
    for folder in range(3):
        (source / f"{folder}").mkdir(parents=True)
    for number in range(count):
        (source / f"{number % 3}" / f"{number}.csv").write_bytes(b"x")
    spec = SPEC.model_copy(update={"source": SPEC.source.model_copy(update={"path": str(source)})})
    first = discover(database, ING, LocalStore(spec.source.path), spec, MADE, ours)
    assert (first.listed, first.new) == (count, count)
    second = discover(database, ING, LocalStore(spec.source.path), spec, MADE, ours)
    assert (second.listed, second.new, second.held) == (count, 0, 0)
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(processed_files)).scalar() == count


names = st.text(st.sampled_from("aAzZ_-.ü€𐍈~ 0"), min_size=1, max_size=3).map(lambda text: f"d{text}.csv")
listings = st.dictionaries(names, st.integers(1, 3), max_size=12)


@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=60,
    derandomize=True,
)
@given(
    rounds=st.lists(st.tuples(listings, st.randoms(use_true_random=False)), min_size=1, max_size=4),
    page=st.integers(1, 5),
    data=st.data(),
)
def test_any_order_and_any_pages_give_what_a_naive_comparison_gives(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    rounds: list[tuple[dict[str, int], Any]],
    page: int,
    data: st.DataObject,
) -> None:
    """The model keeps, for each path, its versions with their status, and nothing of pages or ranges."""
    empty(database)
    model: dict[str, list[list[str]]] = {}
    for listing, random in rounds:
        entries = [entry(name, version) for name, version in listing.items()]
        random.shuffle(entries)
        pages = [entries[start : start + page] for start in range(0, len(entries), page)]
        monkeypatch.setattr(module, "list_source", lambda store, pattern, pages=pages: iter(pages))
        found = discover(database, ING, STORE, SPEC, MADE, ours)
        expected = _naively(model, entries)
        assert (found.new, found.held, found.listed) == (*expected, len(entries))
        assert rows(database) == _as_rows(model)
        # Between two runs anything may have become of the versions that waited.
        for path in sorted(model):
            if model[path][-1][1] == FileStatus.DISCOVERED:
                model[path][-1][1] = data.draw(
                    st.sampled_from(
                        [FileStatus.SUCCESS, FileStatus.FAILED, FileStatus.PROCESSING, FileStatus.DISCOVERED]
                    )
                )
            elif model[path][-1][1] == FileStatus.PROCESSING:
                model[path][-1][1] = FileStatus.SUCCESS
        _bring_about(database, model)


def _bring_about(database: Database, model: dict[str, list[list[str]]]) -> None:
    files = processed_files.c
    with database.write() as connection:
        for path, versions in model.items():
            mine = update(processed_files).where(files.path == path, files.current)
            connection.execute(mine.values(status=versions[-1][1]))


def _naively(model: dict[str, list[list[str]]], entries: list[Entry]) -> tuple[int, int]:
    new = held = 0
    for listed in entries:
        versions = model.setdefault(listed.path, [])
        if versions and (versions[-1][0] == identity(listed) or versions[-1][1] == FileStatus.PROCESSING):
            continue
        loaded = next((version for version, status in reversed(versions) if status == FileStatus.SUCCESS), None)
        if versions and versions[-1][1] != FileStatus.SUCCESS:
            versions[-1][1] = FileStatus.SKIPPED
        if loaded is None:
            status = FileStatus.DISCOVERED
        else:
            status = FileStatus.SKIPPED if loaded == identity(listed) else FileStatus.HELD
        versions.append([identity(listed), status])
        new, held = new + (status == FileStatus.DISCOVERED), held + (status == FileStatus.HELD)
    return new, held


def _as_rows(model: dict[str, list[list[str]]]) -> list[tuple[int, str, str, bool]]:
    return [
        (ordinal, version, status, ordinal == len(model[path]))
        for path in sorted(model, key=str.encode)
        for ordinal, (version, status) in enumerate(model[path], 1)
    ]


def test_what_time_may_cure_is_tried_again_ever_later_and_a_bad_file_is_not(database: Database) -> None:
    names = {AUTH: "closed.csv", MISSING: "gone.csv", DATA_MALFORMED: "bad.csv"}
    for name in names.values():
        add(database, entry(name), FileStatus.DISCOVERED)
    failures = [FileFailure(f"{ROOT}/{name}", category, "why") for category, name in names.items()]
    with database.write() as connection:
        run = {"id": "run-1", "ingestion_id": ING, "status": "running", "trigger": "manual", "created_at": MADE}
        connection.execute(insert(runs).values(run))
    files = processed_files.c
    pauses: dict[str, list[int | None]] = {name: [] for name in names.values()}
    for _ in range(9):
        before = datetime.now(UTC)
        with database.write() as connection:
            ledger.fail_files(connection, "run-1", ING, failures)
            for row in connection.execute(select(files.path, files.retryable, files.next_attempt_at)):
                pause = row.next_attempt_at and round((row.next_attempt_at - before).total_seconds() / 60)
                assert row.retryable == (pause is not None)
                pauses[row.path.rpartition("/")[2]].append(pause)
    assert pauses["closed.csv"] == pauses["gone.csv"] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert pauses["bad.csv"] == [None] * 9


def test_failed_files_wait_again_when_their_time_has_come(database: Database) -> None:
    past, future = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    failed: dict[str, Any] = {"retryable": True, "attempts": 1, "next_attempt_at": past}
    add(database, entry("due.csv"), FileStatus.FAILED, **failed)
    add(database, entry("later.csv"), FileStatus.FAILED, **{**failed, "next_attempt_at": future})
    add(database, entry("bad.csv"), FileStatus.FAILED, **{**failed, "retryable": False})
    add(database, entry("often.csv"), FileStatus.FAILED, **{**failed, "attempts": 5})
    add(database, entry("old.csv"), FileStatus.FAILED, **{**failed, "current": False})
    ledger.take_up(database, ING, 5, hold_changed=True)
    assert rows(database, "due.csv")[0][2] == FileStatus.DISCOVERED
    assert {row[2] for name in ("later", "bad", "often", "old") for row in rows(database, f"{name}.csv")} == {
        FileStatus.FAILED
    }


@pytest.mark.parametrize("rule", ["hold", "append"])
def test_what_is_held_and_was_written_again_a_moment_ago_is_not_taken_up(
    database: Database, compare: Compare, rule: str
) -> None:
    """By another rule than `hold` it would be loaded, as what it is now."""
    now = time.time_ns()
    old, new = (Entry(f"{ROOT}/a.csv", 10, now - age * 10**9, None, None) for age in (90, 30))
    source = SPEC.source.model_copy(update={"min_age_seconds": 60, "on_changed_file": rule})
    add(database, old, FileStatus.HELD)
    found = compare([new], [new], spec=SPEC.model_copy(update={"source": source}))
    assert len(found.young) == 1
    ledger.take_up(database, ING, 5, hold_changed=rule == "hold")
    assert [row[2] for row in rows(database, "a.csv")] == [FileStatus.HELD if rule == "hold" else FileStatus.SKIPPED]


@pytest.mark.parametrize("before", [None, *FileStatus])
def test_what_was_written_a_moment_ago_is_left_alone(
    database: Database, compare: Compare, before: FileStatus | None
) -> None:
    now = time.time_ns()
    old, new, ahead = (Entry(f"{ROOT}/a.csv", 10, now - age * 10**9, None, None) for age in (90, 30, -90))
    spec = SPEC.model_copy(update={"source": SPEC.source.model_copy(update={"min_age_seconds": 60})})
    if before is not None:
        add(database, old, before)
    known = rows(database, "a.csv")
    found = compare([new, Entry(f"{ROOT}/_hidden", 10, now, None, None)], [new], spec=spec)
    in_batch = before == FileStatus.PROCESSING
    assert (len(found.young), found.new, found.skipped) == (not in_batch, 0, 1)
    left = rows(database, "a.csv")
    if before in (FileStatus.DISCOVERED, FileStatus.FAILED):
        # Else what waits would be read as what it is now.
        assert [row[2] for row in left] == [FileStatus.SKIPPED]
        ledger.take_up(database, ING, 5, hold_changed=True)
        assert [row[2] for row in rows(database, "a.csv")] == [FileStatus.SKIPPED]
        assert compare([old], spec=spec).new == 1, "its content may come back"
    else:
        assert left == known
    later = compare([ahead], spec=spec)
    assert (later.young, later.new + later.held) == (set(), not in_batch), "it is not young for ever"
