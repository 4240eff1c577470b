"""The table is somebody else's too: what happened to it is noticed, named, and nothing is lost or doubled."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import Ingest
from tests.integration.ingesting import Ingestion
from tests.integration.test_evolution import given
from tests.parts import sparks

from autoloader_server.engine.iceberg import Table
from autoloader_server.service import Service
from autoloader_server.services import clear
from autoloader_server.services import runs as run_service

pytestmark = pytest.mark.sparks(*sparks.ALL)

GOOD = "a,b\n1,x\n2,y\n"


def cleared(loaded: Ingestion) -> None:
    clear.clear_processed_files(loaded.service, loaded.id)


def test_a_dropped_table_fails_the_run_and_clearing_loads_everything_again(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": GOOD})
    loaded.load()
    loaded.sql("DROP TABLE {table}")
    ran = loaded.load({"b.csv": "a,b\n3,z\n"})
    assert (ran.status, ran.files) == ("failed", 0)
    assert [error.category for error in ran.errors] == ["table_changed"]
    assert "is gone: it was dropped behind our back" in ran.errors[0].message
    assert "clear the ingestion's processed files" in ran.errors[0].message
    cleared(loaded)
    assert loaded.load().records == 3
    assert loaded.rows() == [(1, "x"), (2, "y"), (3, "z")]


def test_a_replaced_table_is_noticed(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": GOOD})
    loaded.load()
    loaded.sql("DROP TABLE {table}")
    loaded.sql("CREATE TABLE {table} (a INT, b STRING) USING iceberg")
    ran = loaded.load({"b.csv": "a,b\n3,z\n"})
    assert [error.category for error in ran.errors] == ["table_changed"]
    assert "replaced behind our back" in ran.errors[0].message
    assert loaded.rows() == []


def test_a_table_rolled_back_is_noticed_and_rolled_forward_again_goes_on(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": GOOD})
    loaded.load()
    loaded.load({"b.csv": "a,b\n3,z\n"})
    history = loaded.sql("SELECT snapshot_id FROM {table}.history ORDER BY made_current_at")
    name = f"{loaded.spec.destination.database}.{loaded.spec.destination.table}"
    loaded.sql(f"CALL lake.system.set_current_snapshot('{name}', {history[-2][0]})")
    ran = loaded.load({"c.csv": "a,b\n4,w\n"})
    assert [error.category for error in ran.errors] == ["table_changed"]
    assert "rolled back" in ran.errors[0].message
    loaded.sql(f"CALL lake.system.set_current_snapshot('{name}', {history[-1][0]})")
    assert loaded.load().files == 1
    assert loaded.values("a") == [1, 2, 3, 4]


@pytest.mark.parametrize("again", ["brought back", "made anew"])
@pytest.mark.parametrize("when", ["create_branch", "append", "publish"])
def test_a_table_rolled_back_while_a_batch_is_loaded_is_noticed_then_and_ever_after(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch, when: str, again: str
) -> None:
    loaded = ingest("csv", {"a.csv": GOOD})
    loaded.load()
    history = loaded.sql("SELECT snapshot_id FROM {table}.history ORDER BY made_current_at")
    name = f"{loaded.spec.destination.database}.{loaded.spec.destination.table}"
    step = getattr(Table, when)

    def late(table: Table, *given: Any) -> Any:
        loaded.sql(f"CALL lake.system.set_current_snapshot('{name}', {history[-2][0]})")
        return step(table, *given)

    with monkeypatch.context() as patched:
        patched.setattr(Table, when, late)
        ran = loaded.load({"b.csv": "a,b\n3,z\n"})
    for each in (ran, loaded.load({"c.csv": "a,b\n4,w\n"})):
        assert [error.category for error in each.errors] == ["table_changed"]
        assert "rolled back" in each.errors[0].message
    assert loaded.files()["b.csv"].status == "PROCESSING"
    if again == "brought back":
        loaded.sql(f"CALL lake.system.set_current_snapshot('{name}', {history[-1][0]})")
        assert loaded.load().status == "success"
    else:
        cleared(loaded)
        loaded.sql("DROP TABLE {table}")
        assert loaded.load().records == 4
    assert loaded.values("a") == [1, 2, 3, 4]
    assert {file.status for file in loaded.files().values()} == {"SUCCESS"}


def test_rows_and_columns_of_somebody_else_stay(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": GOOD})
    loaded.load()
    loaded.sql("INSERT INTO {table} VALUES (9, 'theirs', NULL)")
    loaded.sql("ALTER TABLE {table} ADD COLUMN extra INT")
    loaded.sql("DELETE FROM {table} WHERE a = 1")
    assert loaded.load({"b.csv": "a,b\n3,z\n"}).status == "success"
    assert loaded.rows("a", "b", "extra") == [(2, "y", None), (3, "z", None), (9, "theirs", None)]


@pytest.mark.parametrize("change", ["ADD COLUMN more INT", "DROP COLUMN b", "RENAME COLUMN b TO c"])
def test_columns_that_somebody_has_changed_since_are_the_columns_of_the_next_load(ingest: Ingest, change: str) -> None:
    loaded = ingest("csv", {"a.csv": GOOD}, on_schema_change="ignore")
    loaded.load()
    loaded.sql(f"ALTER TABLE {{table}} {change}")
    ran = loaded.load({"b.csv": "a,b,c,more\n3,z,z,7\n"})
    assert (ran.status, ran.records) == ("success", 1)
    expected = {"ADD COLUMN more INT": (3, "z", 7), "DROP COLUMN b": (3,), "RENAME COLUMN b TO c": (3, "z")}
    assert loaded.rows()[-1] == expected[change]
    assert len(loaded.rows()) == 3


def test_a_column_that_somebody_has_widened_by_hand_loses_no_digit(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": "f\n0.5\n"}, schema=given(f="float"))
    loaded.load()
    loaded.sql("ALTER TABLE {table} ALTER COLUMN f TYPE double")
    assert loaded.load({"b.csv": "f\n0.1\n"}).status == "success"
    assert loaded.values("f") == [0.1, 0.5]


def test_a_table_that_was_there_before_keeps_its_columns_types_and_rows(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": GOOD, "bad.csv": "a,b\n99999999999999999999,x\n"})
    loaded.sql(f"CREATE NAMESPACE IF NOT EXISTS lake.{loaded.spec.destination.database}")
    loaded.sql("CREATE TABLE {table} (B STRING, a BIGINT, other DATE) USING iceberg")
    loaded.sql("INSERT INTO {table} VALUES ('theirs', 0, DATE'2024-01-01')")
    ran = loaded.load()
    assert (ran.status, ran.files) == ("partial", 1)
    assert loaded.values("a") == [0, 1, 2]
    assert loaded.types() == {"B": "string", "a": "bigint", "other": "date"}
    assert loaded.counts() == {"a.csv": 2}


def test_a_table_of_another_ledger_is_refused(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": GOOD})
    loaded.load()
    loaded.sql("ALTER TABLE {table} SET TBLPROPERTIES ('autoloader.ledger-id' = 'somebody else')")
    ran = loaded.load({"b.csv": GOOD})
    assert [error.category for error in ran.errors] == ["table_changed"]
    assert "another autoloader database" in ran.errors[0].message
    assert loaded.values("a") == [1, 2]


def test_a_second_ingestion_into_the_table_skips_what_the_first_loads(ingest: Ingest) -> None:
    first = ingest("csv", {"a.csv": GOOD, "b.csv": GOOD})
    first.load()
    second = ingest("csv", folder=first.place, destination={"table": first.spec.destination.table})
    ran = second.load({"c.csv": "a,b\n3,z\n"})
    assert (ran.status, ran.files, ran.records) == ("success", 1, 1)
    reason = f"the ingestion 'test 0' ({first.id}) loads it into the same table"
    files = second.files()
    assert [(files[name].status, files[name].reason) for name in ("a.csv", "b.csv")] == [("SKIPPED", reason)] * 2
    assert first.load().files == 0
    assert first.counts() == {"a.csv": 2, "b.csv": 2, "c.csv": 1}


def test_two_runs_asked_for_at_once_load_each_file_once(ingest: Ingest, service: Service) -> None:
    loaded = ingest("csv", {f"{at}.csv": GOOD for at in range(50)})
    asked: list[str] = []
    threads = [threading.Thread(target=lambda: asked.append(loaded.request())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ran = [loaded.wait(run_id) for run_id in dict.fromkeys(asked)]
    assert {run.status for run in ran} == {"success"}
    assert sum(run.files for run in ran) == 50
    assert loaded.counts() == {f"{at}.csv": 2 for at in range(50)}


def test_a_file_that_changed_after_it_was_loaded_is_held(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": GOOD})
    loaded.load()
    ran = loaded.load({"a.csv": "a,b\n7,changed\n"})
    assert (ran.status, ran.files) == ("success", 0)
    assert ran.notes == [
        "held: 1 file changed after being loaded; the rows that are there stay; status HELD lists them"
    ]
    known = loaded.files()["a.csv"]
    assert known.status == "HELD"
    assert "changed after it was loaded" in (known.reason or "")
    assert loaded.rows() == [(1, "x"), (2, "y")]


def test_a_file_that_changed_after_it_was_loaded_is_appended_where_the_rule_says_so(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": GOOD}, source={"on_changed_file": "append"})
    loaded.load()
    ran = loaded.load({"a.csv": "a,b\n8,changed\n9,again\n"})
    assert ran.notes == ["on_changed_file is append: 1 file changed after being loaded; the rows that are there stay"]
    assert (loaded.files()["a.csv"].status, loaded.files()["a.csv"].records) == ("SUCCESS", 2)
    assert loaded.rows() == [(1, "x"), (2, "y"), (8, "changed"), (9, "again")]
    assert loaded.load().message == "nothing new"


def test_a_failed_file_is_loaded_when_it_is_mended_and_not_before(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": GOOD, "b.csv": "a,b\n1\n"})
    first = loaded.load()
    assert (first.status, first.files) == ("partial", 1)
    again = loaded.load()
    assert (again.status, again.files, again.errors) == ("success", 0, [])
    assert loaded.files()["b.csv"].status == "FAILED"
    assert loaded.load({"b.csv": "a,b\n3,z\n"}).files == 1
    assert loaded.values("a") == [1, 2, 3]


def test_only_bad_files_make_a_failed_run(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": b"\0\0\0", "b.csv": b"\xff\xfe\xff"})
    ran = loaded.load()
    assert (ran.status, ran.message) == ("failed", "no file was loaded; 2 files could not be")
    assert set(ran.failed()) == {"a.csv", "b.csv"}


def test_an_empty_folder_is_a_success_that_says_so(ingest: Ingest) -> None:
    ran = ingest("csv").load()
    assert (ran.status, ran.message, ran.files, ran.found) == ("success", "there are no files at the source", 0, 0)


def test_a_folder_that_does_not_exist_fails_the_run_by_name(ingest: Ingest, tmp_path: Path) -> None:
    loaded = ingest("csv", folder=tmp_path / "nowhere")
    ran = loaded.load()
    assert ran.status == "failed"
    assert [(error.category, error.message) for error in ran.errors] == [
        (
            "missing",
            f"there is no file or folder '{tmp_path}/nowhere': check the path, and that it is there on this machine",
        )
    ]
    (tmp_path / "a file").write_text(GOOD)
    below = ingest("csv", folder=tmp_path / "a file" / "below").load()
    assert [error.category for error in below.errors] == ["missing"]
    (tmp_path / "nowhere").mkdir()
    assert loaded.load({"a.csv": GOOD}).status == "success"


def test_asking_again_for_a_finished_run_changes_nothing(ingest: Ingest, service: Service) -> None:
    loaded = ingest("csv", {"a.csv": GOOD, "b.csv": "a,b\n1\n"})
    run_id = loaded.request()
    loaded.wait(run_id)
    receipt = run_service.retry(service, loaded.id, run_id)
    again = loaded.wait(receipt.run_id)
    assert (again.status, set(again.failed())) == ("failed", {"b.csv"})
    assert loaded.counts() == {"a.csv": 2}
