"""`on_changed_file: replace`: of a file that changed, the rows of its newest version are there, and of no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import select
from tests.integration.conftest import Ingest
from tests.integration.ingesting import Content, Ingestion
from tests.parts import sparks

from autoloader_sdk.models import IngestionUpdate
from autoloader_server.db.tables import processed_files
from autoloader_server.engine import ledger, replacing
from autoloader_server.engine.work import Work
from autoloader_server.services import batches, ingestions
from autoloader_server.services.errors import Conflict
from autoloader_server.services.previews import preview_saved
from autoloader_server.services.why import why

pytestmark = pytest.mark.sparks(sparks.LOCAL, sparks.OLD)

A = "a,b\n1,x\n2,y\n"
B = "a,b\n3,z\n"


@pytest.fixture
def replaced(ingest: Ingest) -> Any:
    """Makes an ingestion that replaces, with files that are loaded already."""

    def make(files: Mapping[str, Content], format_: str = "csv", *, rule: str = "replace", **rules: Any) -> Ingestion:
        loaded = ingest(format_, files, source={"on_changed_file": rule}, **rules)
        assert loaded.load().status == "success"
        return loaded

    return make


def change_rule(loaded: Ingestion, rule: str) -> None:
    update = IngestionUpdate.model_validate({"source": {"on_changed_file": rule}})
    ingestions.change(loaded.service, loaded.id, update)


def commits(loaded: Ingestion) -> int:
    """How many snapshots main has."""
    return len(loaded.sql("SELECT snapshot_id FROM {table}.history"))


def versions(loaded: Ingestion, name: str) -> list[tuple[str, str | None]]:
    """Status and reason of each version of a file, the oldest first."""
    columns = processed_files.c
    with loaded.service.database.read() as connection:
        found = connection.execute(
            select(columns.status, columns.reason)
            .where(columns.ingestion_id == loaded.id, columns.path == loaded.at(name))
            .order_by(columns.ordinal)
        )
        return [tuple(row) for row in found]


def test_the_rows_of_a_changed_file_are_replaced_in_one_snapshot(replaced: Any) -> None:
    loaded = replaced({"a.csv": A, "b.csv": B})
    before = commits(loaded)
    ran = loaded.load({"a.csv": "a,b\n7,new\n8,newer\n9,newest\n", "c.csv": "a,b\n4,w\n"})
    assert (ran.status, ran.files, ran.records) == ("success", 2, 4)
    assert ran.notes == [
        "on_changed_file is replace: 1 file changed after being loaded; its rows are replaced where it can be loaded"
    ]
    assert loaded.rows() == [(3, "z"), (4, "w"), (7, "new"), (8, "newer"), (9, "newest")]
    # One for the file that is new, one for the one that changed.
    assert commits(loaded) == before + 2
    assert versions(loaded, "a.csv") == [("SKIPPED", ledger.REPLACED), ("SUCCESS", None)]
    assert {name: file.records for name, file in loaded.files().items()} == {"a.csv": 3, "b.csv": 1, "c.csv": 1}
    assert loaded.load().message == "nothing new"


def test_a_number_that_is_written_as_infinite_takes_a_row_s_place(replaced: Any) -> None:
    loaded = replaced({"a.csv": "a,b\n1,1.5\n"})
    ran = loaded.load({"a.csv": "a,b\n2,Infinity\n3,-Inf\n"})
    assert (ran.status, ran.errors, ran.records) == ("success", [], 2)
    assert loaded.rows() == [(2, float("inf")), (3, float("-inf"))]


@pytest.mark.parametrize("rule", ["replace", "append"])
def test_what_was_held_back_is_loaded_once_the_rule_is_another_one(replaced: Any, rule: str) -> None:
    loaded = replaced({"a.csv": A, "b.csv": B}, rule="hold")
    assert loaded.load({"a.csv": "a,b\n4,v\n"}).files == 0
    assert loaded.rows() == [(1, "x"), (2, "y"), (3, "z")]
    change_rule(loaded, rule)
    assert why(loaded.service, loaded.id, "a.csv").sentence.startswith("it was held back since it changed, and on_")
    plan = preview_saved(loaded.service, loaded.id, sample=False).plan
    assert plan is not None
    assert [(one.reason, one.files) for one in plan.parts if one.action == "load"] == [("changed", 1)]
    ran = loaded.load()
    assert (ran.status, ran.files, ran.records) == ("success", 1, 1)
    assert ran.notes[0].startswith(f"on_changed_file is {rule}: 1 file changed after being loaded; ")
    rows = [(3, "z"), (4, "v")]
    assert loaded.rows() == (rows if rule == "replace" else [(1, "x"), (2, "y"), *rows])
    assert loaded.load().message == "nothing new"
    with pytest.raises(Conflict, match="on_changed_file cannot change any more"):
        change_rule(loaded, "hold")


def test_a_file_that_is_again_what_it_was_is_replaced_again(replaced: Any) -> None:
    loaded = replaced({"a.csv": A})
    assert loaded.load({"a.csv": B}).records == 1
    assert loaded.load({"a.csv": A}).records == 2
    assert loaded.rows() == [(1, "x"), (2, "y")]
    assert [status for status, _ in versions(loaded, "a.csv")] == ["SKIPPED", "SKIPPED", "SUCCESS"]


def test_rows_stay_until_a_version_can_be_loaded(replaced: Any) -> None:
    loaded = replaced({"a.csv": A})
    ran = loaded.load({"a.csv": "a,b\n1\n"})
    assert (ran.status, set(ran.failed())) == ("failed", {"a.csv"}), ran.errors
    assert loaded.rows() == [(1, "x"), (2, "y")]
    assert loaded.load({"a.csv": ""}).files == 0
    assert loaded.files()["a.csv"].status == "SKIPPED"
    assert loaded.rows() == [(1, "x"), (2, "y")]
    assert loaded.load({"a.csv": B}).status == "success"
    assert loaded.rows() == [(3, "z")]


def test_a_file_without_rows_any_more_leaves_none(replaced: Any) -> None:
    loaded = replaced({"a.csv": A, "b.csv": B})
    ran = loaded.load({"a.csv": "a,b\n"})
    assert (ran.status, ran.files, ran.records) == ("success", 1, 0)
    assert loaded.rows() == [(3, "z")]
    assert loaded.load({"a.csv": A}).records == 2
    assert loaded.rows() == [(1, "x"), (2, "y"), (3, "z")]


def test_a_changed_file_may_bring_a_column_and_have_any_name(replaced: Any) -> None:
    name = "it's `a` [1] %20 ü\\ ${spark.app.name}.csv"
    loaded = replaced({name: A, "b.csv": B})
    assert loaded.load({name: "a,b,a b.c\n1,x,new\n"}).status == "success"
    assert loaded.rows("a", "b", "a b.c") == [(1, "x", "new"), (3, "z", None)]


def test_more_files_than_a_condition_is_pruned_by(replaced: Any) -> None:
    loaded = replaced({f"{at}.csv": A for at in range(250)} | {"stays.csv": B})
    ran = loaded.load({f"{at}.csv": f"a,b\n{at},new\n" for at in range(250)})
    assert (ran.files, ran.records) == (250, 250)
    assert loaded.values("a") == sorted([*range(250), 3], key=lambda a: repr((a,)))
    assert set(loaded.counts().values()) == {1}


def test_partitions_that_a_file_moves_between(replaced: Any) -> None:
    loaded = replaced({"a.csv": A, "b.csv": A}, destination={"partitioning": {"enabled": True, "columns": ["b"]}})
    loaded.load({"a.csv": "a,b\n1,y\n5,w\n"})
    parts = loaded.sql("SELECT partition.b, record_count FROM {table}.partitions WHERE record_count > 0")
    assert sorted(parts) == [("w", 1), ("x", 1), ("y", 2)]
    assert loaded.rows() == [(1, "x"), (1, "y"), (2, "y"), (5, "w")]
    assert loaded.counts() == {"a.csv": 2, "b.csv": 2}


def test_nested_values_are_replaced_as_they_are_appended(replaced: Any) -> None:
    loaded = replaced({"a.json": '{"s": {"x": 1, "l": [{"y": "a"}]}}\n'}, "json")
    loaded.load(
        {"a.json": '{"s": {"x": 2, "l": [{"y": "b"}, {"y": null}]}}\n{"s": null}\n', "b.json": '{"s": {"x": 3}}\n'}
    )
    assert [row[0] and row[0].asDict(recursive=True) for row in loaded.rows()] == [
        None,
        {"x": 3, "l": None},
        {"x": 2, "l": [{"y": "b"}, {"y": None}]},
    ]


def test_where_somebody_else_commits_meanwhile_it_is_staged_again(
    replaced: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = replaced({"a.csv": A})
    publish, times = replacing.publish, list[int]()

    def late(work: Work, batch_id: str, snapshot: Any) -> bool:
        if not times:
            loaded.sql("INSERT INTO {table} VALUES (9, 'theirs', NULL)")
        times.append(snapshot.id)
        return publish(work, batch_id, snapshot)

    monkeypatch.setattr(replacing, "publish", late)
    assert loaded.load({"a.csv": B}).status == "success"
    assert len(set(times)) == 2
    assert loaded.rows() == [(3, "z"), (9, "theirs")]


def test_what_somebody_has_rolled_back_is_not_brought_back(replaced: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = replaced({"a.csv": A})
    loaded.sql("INSERT INTO {table} VALUES (9, 'theirs', NULL)")
    publish, times = replacing.publish, list[int]()

    def late(work: Work, batch_id: str, snapshot: Any) -> bool:
        if not times:
            history = loaded.sql("SELECT snapshot_id FROM {table}.history ORDER BY made_current_at")
            name = f"{loaded.spec.destination.database}.{loaded.spec.destination.table}"
            loaded.sql(f"CALL lake.system.rollback_to_snapshot('{name}', {history[-2][0]})")
        times.append(snapshot.id)
        return publish(work, batch_id, snapshot)

    monkeypatch.setattr(replacing, "publish", late)
    assert loaded.load({"a.csv": B}).status == "success"
    assert loaded.rows() == [(3, "z")]


@pytest.mark.sparks(sparks.LOCAL)
def test_a_large_file_is_replaced_in_no_more_than_its_share(replaced: Any) -> None:
    rows = 200_000
    loaded = replaced({"a.csv": "a,b\n" + "".join(f"{at},x\n" for at in range(rows)), "b.csv": B})
    # Each new row held against each old one would take hours.
    ran = loaded.load({"a.csv": "a,b\n" + "".join(f"{at},y\n" for at in range(rows))})
    assert (ran.status, ran.records) == ("success", rows)
    assert loaded.sql("SELECT b, count(*), sum(a) FROM {table} GROUP BY b ORDER BY b") == [
        ("y", rows, rows * (rows - 1) // 2),
        ("z", 1, 3),
    ]


def test_a_run_does_not_try_for_ever_and_the_next_one_goes_on(replaced: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = replaced({"a.csv": A})
    with monkeypatch.context() as patched:
        publish = replacing.publish

        def always_late(work: Work, batch_id: str, snapshot: Any) -> bool:
            loaded.sql("INSERT INTO {table} VALUES (9, 'theirs', NULL)")
            return publish(work, batch_id, snapshot)

        patched.setattr(replacing, "publish", always_late)
        for name, files in (("a.csv", 0), ("c.csv", 1)):
            # What is new is loaded first, also by the run after one that gave up.
            ran = loaded.load({name: B})
            assert (ran.status, ran.files) == ("failed", files)
            assert [error.category for error in ran.errors] == ["write_failure"]
            assert "these rows are as they were; the next run tries again" in ran.errors[0].message
    assert loaded.load().status == "success"
    assert loaded.rows() == [*[(3, "z")] * 2, *[(9, "theirs")] * 10]


def test_a_held_replacement_is_staged_again_when_it_is_released(replaced: Any) -> None:
    loaded = replaced({"a.csv": A}, quality={"row_count_threshold": 2, "on_low_row_count": "hold"})
    ran = loaded.load({"a.csv": B, "b.csv": "a,b\n4,w\n5,w\n"})
    assert (ran.status, ran.files) == ("success", 1)
    assert loaded.rows() == [(1, "x"), (2, "y"), (4, "w"), (5, "w")]
    (held,) = batches.find(loaded.service, loaded.id, status=["HELD"]).items
    assert held.records == 1
    loaded.wait(batches.decide(loaded.service, loaded.id, held.id, "release").run_id)
    assert loaded.rows() == [(3, "z"), (4, "w"), (5, "w")]
    assert versions(loaded, "a.csv") == [("SKIPPED", ledger.REPLACED), ("SUCCESS", None)]


def test_a_held_replacement_that_is_dropped_leaves_the_rows_of_before(replaced: Any) -> None:
    loaded = replaced({"a.csv": A}, quality={"row_count_threshold": 2, "on_low_row_count": "hold"})
    loaded.load({"a.csv": B})
    (held,) = batches.find(loaded.service, loaded.id, status=["HELD"]).items
    loaded.wait(batches.decide(loaded.service, loaded.id, held.id, "drop").run_id)
    assert loaded.rows() == [(1, "x"), (2, "y")]
    ingestions.change(loaded.service, loaded.id, IngestionUpdate.model_validate({"quality": {}}))
    assert loaded.load({"a.csv": A + "3,z\n"}).records == 3
    assert loaded.values("a") == [1, 2, 3]


@pytest.mark.parametrize("rule", ["rescue", "quarantine"])
def test_bad_records_of_a_changed_file(rule: str, replaced: Any) -> None:
    loaded = replaced({"a.csv": A}, on_bad_record=rule)
    ran = loaded.load({"a.csv": "a,b\n7,new\n8\n"})
    assert ran.status == "success"
    bad = [(8, None)] if rule == "rescue" else []
    assert loaded.rows("a", "b") == sorted([(7, "new"), *bad], key=repr)
    assert loaded.load({"a.csv": B}).status == "success"
    assert loaded.rows("a", "b") == [(3, "z")]
    if rule == "quarantine":
        # What was set aside stays on record, with its batch.
        table = loaded.table.removesuffix("`") + "__quarantine`"
        assert loaded.sql(f"SELECT record FROM {table}") == [("8",)]
