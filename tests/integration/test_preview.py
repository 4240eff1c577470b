"""What `POST /ingestions/test` shows is what a load then does."""

from __future__ import annotations

import json
from typing import Any

from tests.integration.conftest import Ingest
from tests.integration.ingesting import Ingestion

from autoloader_sdk.models import PreviewResult
from autoloader_server.services.previews import preview_of, preview_saved

GOOD = "a,b\n1,x\n2,y\n"


def seen(ingestion: Ingestion) -> PreviewResult:
    return preview_of(ingestion.service, ingestion.spec)


def columns(result: PreviewResult) -> list[tuple[str, str, bool]]:
    return [(column.name, column.data_type, column.is_new) for column in result.schema_]


def test_files_columns_and_rows_are_those_of_the_load_that_follows(ingest: Ingest) -> None:
    given = ingest("csv", {"a.csv": GOOD, "sub/b.csv": "a,b\n3,\n", "_hidden.csv": GOOD, "empty.csv": ""})
    before = seen(given)
    assert (before.file_count, before.estimated_records, before.warnings) == (2, 3, [])
    assert columns(before) == [("a", "int", False), ("b", "string", False)]
    rows: list[dict[str, Any]] = [json.loads(row) for row in before.sample_data]
    assert sorted(rows, key=str) == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}, {"a": 3, "b": None}]
    assert given.files() == {}, "nothing is saved"
    assert not given.service.spark.session().catalog.tableExists(given.table)
    ran = given.load()
    assert (ran.files, ran.records) == (before.file_count, before.estimated_records)
    assert list(given.types().items()) == [(name, kind) for name, kind, _ in columns(before)]


def test_a_column_that_the_table_lacks_is_new(ingest: Ingest) -> None:
    given = ingest("json", {"a.json": '{"a": 1, "s": {"x": 1}}\n'})
    given.load()
    given.write({"b.json": '{"a": 2, "c": "new", "s": {"x": 1, "y": 2}}\n'})
    after = seen(given)
    assert {name: new for name, _, new in columns(after)} == {"a": False, "s": False, "c": True}
    assert any("s.y" in sentence for sentence in after.warnings)


def test_a_file_that_would_fail_is_named_and_the_others_are_shown(ingest: Ingest) -> None:
    given = ingest("csv", {"a.csv": GOOD, "b.csv": "a,b\n1\n", "c.csv": b"\0\0\0"})
    result = seen(given)
    assert (result.file_count, len(result.sample_data)) == (3, 2)
    named = "\n".join(result.warnings)
    assert "b.csv would fail" in named
    assert "c.csv would fail" in named
    assert set(given.load().failed()) == {"b.csv", "c.csv"}


def test_of_many_files_a_sample_is_read_and_the_rows_are_estimated(ingest: Ingest) -> None:
    given = ingest("csv", {f"{at:03}.csv": GOOD for at in range(100)})
    result = seen(given)
    assert (result.file_count, result.estimated_records, len(result.sample_data)) == (100, 200, 10)


def test_of_one_that_is_there_it_is_what_the_next_run_does(ingest: Ingest) -> None:
    """Some of it loaded, some changed, some failed, some new."""
    given = ingest("csv", {"a.csv": GOOD, "b.csv": GOOD, "c.csv": b"\0\0\0"})
    given.load()
    given.write({"b.csv": "a,b\n7,changed\n", "d.csv": "a,b,c\n3,z,new\n", "_e.csv": GOOD})
    before = preview_saved(given.service, given.id)
    assert before.plan is not None
    told = {each.path.rpartition("/")[2]: (each.action, each.reason) for each in before.plan.files}
    assert told == {
        "a.csv": ("skip", "loaded before"),
        "b.csv": ("hold", "changed"),
        "c.csv": ("skip", "failed before"),
        "d.csv": ("load", "new"),
        "_e.csv": ("skip", "hidden file"),
    }
    assert columns(before) == [("a", "int", False), ("b", "string", False), ("c", "string", True)]
    assert (before.file_count, before.estimated_records, len(before.sample_data)) == (1, 1, 1)
    ran = given.load()
    assert (ran.files, ran.records) == (1, 1)
    assert {name: known.status for name, known in given.files().items()}["b.csv"] == "HELD"


def test_numbers_written_as_infinite_are_shown(ingest: Ingest) -> None:
    given = ingest("csv", {"a.csv": "a,b\n1,Inf\n2,-Infinity\n", "b.csv": "a,b\n3,1.5\n"})
    before = seen(given)
    assert (before.warnings, before.estimated_records) == ([], 3)
    assert given.load().records == 3


def test_a_file_that_lacks_a_value_which_the_table_asks_for_would_fail(ingest: Ingest) -> None:
    given = ingest("csv", destination={"lineage_columns": []})
    given.sql(f"CREATE NAMESPACE IF NOT EXISTS {given.table.rpartition('.')[0]}")
    given.sql(f"CREATE TABLE {given.table} (id INT NOT NULL, s STRING) USING iceberg")
    given.write({"a.csv": "id,s\n5000000000,a\n", "b.csv": "id,s\n,b\n", "c.csv": "s\nc\n"})
    named = "\n".join(seen(given).warnings)
    assert "b.csv would fail" in named
    assert "c.csv would fail" in named
    assert "a.csv" not in named
    assert set(given.load().failed()) == {"b.csv", "c.csv"}
    assert given.rows() == [(5000000000, "a")]
