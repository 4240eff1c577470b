"""Columns that may not be null: kept as they were given, and a record without a value there is a bad one."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.conftest import Ingest
from tests.integration.test_bad_records import set_aside
from tests.integration.test_load_parquet import parquet
from tests.parts import sparks

from autoloader_sdk.models import IngestionUpdate
from autoloader_server.services import ingestions

pytestmark = pytest.mark.sparks(*sparks.ALL)
BY_RULE = "(mend them, or see on_bad_record)"


def field(name: str, kind: Any, *, nullable: bool = True, comment: str | None = None) -> dict[str, Any]:
    return {"name": name, "type": kind, "nullable": nullable, "metadata": {"comment": comment} if comment else {}}


def struct(*fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "struct", "fields": list(fields)}


def given(*fields: dict[str, Any]) -> dict[str, Any]:
    return {"inference": "manual", "schema_json": struct(*fields)}


TYPED = given(
    field("id", "integer", nullable=False, comment="it's the ${key}: \\ 'unique'"),
    field("s", "string", comment="ü"),
    field("at", struct(field("x", "integer", nullable=False, comment="to the right"), field("y", "integer"))),
    field("many", {"type": "array", "elementType": struct(field("n", "long", nullable=False)), "containsNull": True}),
)
FLAT = given(field("id", "integer", nullable=False), field("s", "string", nullable=False), field("n", "integer"))


def test_a_given_schema_is_kept_with_what_may_be_null_and_with_its_comments(ingest: Ingest) -> None:
    made = ingest("json", {"a.json": '{"id": 1, "s": "a", "at": {"x": 1}, "many": [{"n": 1}, null]}\n'}, schema=TYPED)
    assert made.load().errors == []
    wanted = TYPED["schema_json"]["fields"]
    found = made.service.spark.session().table(made.table).schema.jsonValue()["fields"]
    assert [one for one in found if one["name"] != "_source_file"] == wanted
    # A column that is added and one that is widened change nothing of the others.
    ran = made.load({"b.json": '{"id": 2, "new": true, "at": {"x": 5000000000, "y": 1}}\n'})
    assert ran.errors == []
    found = made.service.spark.session().table(made.table).schema.jsonValue()["fields"]
    assert found[0] == wanted[0]
    at = next(one for one in found if one["name"] == "at")["type"]["fields"]
    assert at == [field("x", "long", nullable=False, comment="to the right"), field("y", "integer")]
    assert made.versions()[-1].schema_json["fields"][0] == wanted[0]


def test_a_file_with_a_record_that_lacks_a_value_fails_alone(ingest: Ingest) -> None:
    made = ingest("json", schema=TYPED, on_schema_change="ignore")
    ran = made.load(
        {
            "a.json": '{"id": 1, "at": {"x": 1}, "many": [{"n": 1}]}\n{"id": 2}\n{"id": 3, "many": [null]}\n',
            "b.json": '{"id": 1}\n{"s": "no id"}\n{"id": null}\n',
            "c.json": '{"id": 1, "at": {"y": 1}}\n',
            "d.json": '[{"id": 1, "many": [{"n": 1}, {}]}]',
            "e.json": '{"s": "a"}\n{"id": "many"}\n',
        }
    )
    assert (ran.status, ran.files, ran.records) == ("partial", 1, 3)
    lacking = "has no value, and its column may not be null"
    assert {name: (one.category, one.message) for name, one in ran.failed().items() if name != "e.json"} == {
        "b.json": ("data_malformed", f"in 2 of its 3 records 'id' {lacking} {BY_RULE}"),
        "c.json": ("data_malformed", f"in 1 of its 1 records 'at.x' {lacking} {BY_RULE}"),
        "d.json": ("data_malformed", f"in 1 of its 1 records 'many.element.n' {lacking} (mend them)"),
    }
    assert "1 of its 2 records do not fit" in ran.failed()["e.json"].message
    assert made.values("id") == [1, 2, 3]


def test_such_records_are_set_aside(ingest: Ingest) -> None:
    made = ingest("json", schema=TYPED, on_bad_record="quarantine")
    lines = ['{"id": 1, "at": {"x": 1}}', '{"s": "no id"}', '{"id": 2, "at": {"y": 1}}', '{"id": "x"}', '{"id": 3}']
    ran = made.load({"a.json": "\n".join(lines), "b.json": '{"id": 4}\n'})
    assert (ran.errors, ran.files, ran.records) == ([], 2, 3)
    assert made.values("id") == [1, 3, 4]
    assert dict(set_aside(made, "record", "reason")) == {
        lines[1]: "'id' has no value, and its column may not be null",
        lines[2]: "'at.x' has no value, and its column may not be null",
        lines[3]: "'id' is no int: \"x\"",
    }


def test_of_csv_too(ingest: Ingest) -> None:
    made = ingest("csv", schema=FLAT, on_bad_record="quarantine")
    ran = made.load(
        {"a.csv": 'id,s,n\n1,a,1\n,b,2\n3,,3\n4,"",x\n5,e,\n', "b.csv": "id\n6\n7\n", "c.csv": "s,id\nh,8\n"}
    )
    assert (ran.errors, ran.files, ran.records) == ([], 3, 3)
    assert made.values("id") == [1, 5, 8]
    assert [f"{row[0]}:{row[1]}" for row in set_aside(made)] == ["a.csv:3", "a.csv:4", "a.csv:5", "b.csv:2", "b.csv:3"]
    reasons = dict(set_aside(made, "record", "reason"))
    assert reasons[",b,2"] == "'id' has no value, and its column may not be null"
    assert reasons["6"] == "'s' has no value, and its column may not be null"
    assert reasons['4,"",x'] == "'n' is no int: x"


def test_what_may_not_be_null_cannot_be_rescued(ingest: Ingest) -> None:
    made = ingest("csv", schema=FLAT, on_bad_record="rescue")
    ran = made.load(
        {"a.csv": "id,s,n\n1,a,x\n2,b,2\n", "b.csv": "id,s,n\n3,c,3\nfour,d,4\n", "c.csv": "id,s,n\n5,,x\n"}
    )
    assert (ran.status, ran.files, ran.records) == ("partial", 1, 2)
    assert made.rows("id", "s", "n", "_rescued_data") == [(1, "a", None, "1,a,x"), (2, "b", 2, None)]
    for name in ("b.csv", "c.csv"):
        assert "1 of its bad records cannot be rescued, as a column may not be null: " in ran.failed()[name].message


def test_a_parquet_file_without_the_column_fails_alone_and_is_replaced(ingest: Ingest) -> None:
    made = ingest("parquet", schema=FLAT)
    ingestions.change(made.service, made.id, IngestionUpdate.model_validate({"source": {"on_changed_file": "replace"}}))
    ran = made.load(
        {
            "a.parquet": parquet({"id": [1, 2], "s": ["a", "b"]}),
            "b.parquet": parquet({"id": [3]}),
            "c.parquet": parquet({"id": [4, None], "s": ["x", "y"]}),
        }
    )
    assert (ran.status, ran.files) == ("partial", 1)
    for name, number in (("b.parquet", "1 of its 1"), ("c.parquet", "1 of its 2")):
        assert f"in {number} records" in ran.failed()[name].message
    assert made.rows("id", "s") == [(1, "a"), (2, "b")]
    ran = made.load({"a.parquet": parquet({"id": [5], "s": ["c"]}), "b.parquet": parquet({"id": [3], "s": ["z"]})})
    assert (ran.errors, ran.files) == ([], 2)
    assert made.rows("id", "s") == [(3, "z"), (5, "c")]
    ran = made.load({"a.parquet": parquet({"id": [5], "s": [None]})})
    assert set(ran.failed()) == {"a.parquet"}
    assert made.rows("id", "s") == [(3, "z"), (5, "c")]


def test_a_table_of_somebody_else_may_ask_for_values(ingest: Ingest) -> None:
    made = ingest("csv", destination={"lineage_columns": []})
    made.sql(f"CREATE NAMESPACE IF NOT EXISTS {made.table.rpartition('.')[0]}")
    made.sql(f"CREATE TABLE {made.table} (id INT NOT NULL, s STRING) USING iceberg")
    ran = made.load({"a.csv": "id,s\n1,a\n", "b.csv": "id,s\n,b\n", "c.csv": "s\nc\n"})
    assert (ran.status, ran.files, set(ran.failed())) == ("partial", 1, {"b.csv", "c.csv"})
    assert made.rows() == [(1, "a")]
