"""What `on_schema_change` does with columns and types that the table does not have."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from tests.integration.conftest import Ingest
from tests.integration.ingesting import DO_NOT_FIT
from tests.integration.test_load_json import lines
from tests.integration.test_load_parquet import parquet
from tests.parts import sparks

# Changes of columns are Iceberg's, and each of its versions is its own.
each_spark = pytest.mark.sparks(*sparks.ALL)


def given(**columns: Any) -> dict[str, Any]:
    fields = [{"name": name, "type": kind, "nullable": True, "metadata": {}} for name, kind in columns.items()]
    return {"inference": "manual", "schema_json": {"type": "struct", "fields": fields}}


def changes(loaded: Any) -> list[tuple[str, str, str | None, str | None]]:
    return [
        (one["change_type"], one["column_name"], one["old_type"], one["new_type"])
        for version in loaded.versions()
        for one in version.changes_json
    ]


@each_spark
def test_parquet_columns_are_widened_where_iceberg_can(ingest: Ingest) -> None:
    loaded = ingest(
        "parquet",
        {"a.parquet": parquet({"i": pa.array([1], pa.int32()), "f": pa.array([0.5], pa.float32())})},
    )
    assert loaded.load().errors == []
    ran = loaded.load(
        {
            "b.parquet": parquet({"i": pa.array([2**40], pa.int64()), "f": pa.array([1e300], pa.float64())}),
            "c.parquet": parquet({"i": ["text"]}),
        }
    )
    assert ran.failed()["c.parquet"].message == "its column 'i' is string, the table's is bigint"
    assert loaded.types() == {"i": "bigint", "f": "double"}
    assert loaded.rows("i", "f") == [(1, 0.5), (2**40, 1e300)]
    assert changes(loaded) == [("TYPE_CHANGE", "i", "int", "bigint"), ("TYPE_CHANGE", "f", "float", "double")]
    assert loaded.versions()[0].affected_files == [loaded.at("b.parquet")]


@each_spark
def test_json_values_widen_a_given_column(ingest: Ingest) -> None:
    schema = given(i="integer", d="decimal(4,2)", f="float")
    loaded = ingest("json", {"a.json": lines({"i": 1, "d": 1.25, "f": 0.5})}, schema=schema)
    assert loaded.load().errors == []
    assert loaded.load({"b.json": lines({"i": 2**40, "d": 12345.25, "f": 1e300})}).errors == []
    assert loaded.types() == {"i": "bigint", "d": "decimal(7,2)", "f": "double"}
    assert loaded.rows("i", "f") == [(1, 0.5), (2**40, 1e300)]


@each_spark
def test_csv_values_widen_a_column_and_a_file_with_a_worse_one_fails_with_it(ingest: Ingest) -> None:
    schema = given(I="integer", d="decimal(4,2)", n="string")
    loaded = ingest("csv", {"a.csv": "I,d,n\n1,1.25,x\n"}, schema=schema)
    assert loaded.load().errors == []
    long = "long " * 50
    ran = loaded.load(
        {
            "b.csv": f"n,d,i\ny,-12345.25,{2**40}\n",
            "c.csv": f"I,n\n{2**41},x\nseven,{long}\n",
            "d.csv": f"I,n\n{2**70},x\n",
            "f.csv": f"d,n\n{10**38},x\n",
            "e.csv": "I,n\n2,z\n",
        }
    )
    assert {name: error.message for name, error in ran.failed().items()} == {
        "c.csv": (
            f"1 of its 2 {DO_NOT_FIT}; the first: "
            """'{"I": "seven"}', where 'I' is no bigint"""
        ),
        "d.csv": f"1 of its 1 {DO_NOT_FIT}; the first: '{2**70},x', where 'I' is no bigint",
        "f.csv": ran.failed()["f.csv"].message,
    }
    assert "where 'd' is no decimal" in ran.failed()["f.csv"].message
    assert loaded.types() == {"I": "bigint", "d": "decimal(7,2)", "n": "string"}
    assert loaded.rows("I", "n") == [(1, "x"), (2**40, "y"), (2, "z")]
    assert changes(loaded) == [
        ("TYPE_CHANGE", "I", "int", "bigint"),
        ("TYPE_CHANGE", "d", "decimal(4,2)", "decimal(7,2)"),
    ]
    assert [one["files"] for one in loaded.versions()[0].changes_json] == [[loaded.at("b.csv")]] * 2


@each_spark
def test_odd_names_are_widened_added_and_dropped_at_any_depth(ingest: Ingest) -> None:
    odd = ["a.b", "two words", "quo'te", 'dou"ble', "back`tick", "select", "ü"]
    whole = pa.array([[dict.fromkeys(odd, 1) | {"g.one": 1}]], pa.list_(inner(odd, pa.int32(), "g.one")))
    pairs = pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int32()))
    first = {name: pa.array([1], pa.int32()) for name in odd} | {"l": whole, "m": pairs, "drop, me": [1]}
    loaded = ingest("parquet", {"a.parquet": parquet(first)}, on_schema_change="sync_all_columns")
    assert loaded.load().errors == []
    whole = pa.array([[dict.fromkeys(odd, 2**40) | {"n`ew": 1}]], pa.list_(inner(odd, pa.int64(), "n`ew")))
    pairs = pa.array([[("k", 2**40)]], pa.map_(pa.string(), pa.int64()))
    second = {name.upper(): pa.array([2**40], pa.int64()) for name in odd} | {"l": whole, "m": pairs, "by": ["x"]}
    assert loaded.load({"b.parquet": parquet(second)}).errors == []
    within = ",".join(f"{name}:bigint" for name in odd)
    assert loaded.types() == dict.fromkeys(odd, "bigint") | {
        "l": f"array<struct<{within},n`ew:int>>",
        "m": "map<string,bigint>",
        "by": "string",
    }
    assert loaded.rows(*odd) == [tuple([1] * len(odd)), tuple([2**40] * len(odd))]
    wider = [*odd, *(f"l.element.{name}" for name in odd), "m.value"]
    assert set(changes(loaded)) == {
        *(("TYPE_CHANGE", name, "int", "bigint") for name in wider),
        ("NEW_COLUMN", "l.element.n`ew", None, "int"),
        ("NEW_COLUMN", "by", None, "string"),
        ("REMOVED_COLUMN", "l.element.g.one", "int", None),
        ("REMOVED_COLUMN", "drop, me", "bigint", None),
    }
    assert {path for version in loaded.versions() for path in version.affected_files} == {loaded.at("b.parquet")}


def inner(names: list[str], kind: pa.DataType, more: str) -> pa.DataType:
    return pa.struct([*((name, kind) for name in names), (more, pa.int32())])


def test_a_given_schema_is_kept_in_names_order_and_types_and_followed_from_there(ingest: Ingest) -> None:
    kinds = {
        "Zulu": "string",
        "select": "decimal(12,3)",
        "a.b": "float",
        "Day": "date",
        "bytes": "binary",
        "l": {"type": "array", "elementType": "integer", "containsNull": True},
    }
    loaded = ingest("json", {"a.json": lines({"a.b": 0.5, "new": 1, "Zulu": 7})}, schema=given(**kinds))
    assert loaded.load().errors == []
    assert list(loaded.types().items()) == [
        ("Zulu", "string"),
        ("select", "decimal(12,3)"),
        ("a.b", "float"),
        ("Day", "date"),
        ("bytes", "binary"),
        ("l", "array<int>"),
        ("new", "bigint"),
    ]
    assert loaded.rows("Zulu", "a.b", "new") == [("7", 0.5, 1)]
    assert changes(loaded) == [("NEW_COLUMN", "new", None, "bigint")]


@each_spark
def test_ignore_widens_nothing_and_tells_column_and_value(ingest: Ingest) -> None:
    schema = given(i="integer", d="decimal(4,2)", f="float")
    loaded = ingest("json", {"a.json": lines({"i": 1})}, schema=schema, on_schema_change="ignore")
    loaded.load()
    ran = loaded.load({"b.json": lines({"i": 2**40}), "c.json": lines({"d": 12345.25}), "d.json": lines({"f": 1e300})})
    assert {name: (error.category, error.message) for name, error in ran.failed().items()} == {
        "b.json": ("schema_mismatch", f"its field 'i' has a number that its column, int, cannot hold: {2**40}"),
        "c.json": (
            "schema_mismatch",
            "its field 'd' has a number that its column, decimal(4,2), cannot hold: 12345.25",
        ),
        "d.json": ("schema_mismatch", "its field 'f' has a number that its column, float, cannot hold: 1E+300"),
    }
    assert (loaded.types(), loaded.versions()) == ({"i": "int", "d": "decimal(4,2)", "f": "float"}, [])


@each_spark
def test_fail_stops_the_run_before_anything_of_the_batch_is_loaded(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": "id\n1\n"}, on_schema_change="fail")
    assert loaded.load().status == "success"
    ran = loaded.load({"b.csv": "id,odd name\n2,x\n", "c.csv": "id\n3\n"})
    assert ran.status == "failed"
    assert "Schema Mismatch Detected" in (ran.message or "")
    assert "'odd name'" in (ran.message or "")
    assert loaded.values("id") == [1]
    assert {name: file.status for name, file in loaded.files().items() if name != "a.csv"} == {
        "b.csv": "DISCOVERED",
        "c.csv": "DISCOVERED",
    }
    loaded.sql("ALTER TABLE {table} ADD COLUMN `odd name` string")
    assert loaded.load().status == "success"
    assert loaded.rows("id", "odd name") == [(1, None), (2, "x"), (3, None)]


@each_spark
def test_fail_stops_the_run_for_a_wider_type_and_tells_the_statement(ingest: Ingest) -> None:
    loaded = ingest("parquet", {"a.parquet": parquet({"a.b": pa.array([1], pa.int32())})}, on_schema_change="fail")
    loaded.load()
    ran = loaded.load({"b.parquet": parquet({"a.b": pa.array([2**40], pa.int64())})})
    assert ran.status == "failed"
    assert "'a.b' (int → bigint)" in (ran.message or "")
    statement = f"ALTER TABLE {loaded.table} ALTER COLUMN `a.b` TYPE bigint"
    assert statement in (ran.message or "")
    loaded.sql(statement)
    assert loaded.load().status == "success"
    assert loaded.values("a.b") == [1, 2**40]


@each_spark
def test_sync_drops_what_no_file_of_the_run_has(ingest: Ingest) -> None:
    loaded = ingest(
        "json",
        {"a.json": lines({"id": 1, "old.name": "x", "s": {"x": 1, "y": 2}, "null": 1, "day": "mon"})},
        destination={"partitioning": {"enabled": True, "columns": ["day"]}},
        on_schema_change="sync_all_columns",
        limits={"max_files_per_batch": 1},
    )
    assert loaded.load().errors == []
    assert loaded.versions() == []
    ran = loaded.load(
        {"b.json": lines({"id": 2, "s": {"x": 3}}), "c.json": lines({"id": 3, "null": None, "new": True})}
    )
    assert ran.errors == []
    assert "day stays in the table, though no file of this run has it: it is partitioned by it" in ran.notes
    kinds = {"id": "bigint", "null": "bigint", "s": "struct<x:bigint>", "day": "string", "new": "boolean"}
    assert loaded.types() == kinds
    assert set(changes(loaded)) == {
        ("NEW_COLUMN", "new", None, "boolean"),
        ("REMOVED_COLUMN", "old.name", "string", None),
        ("REMOVED_COLUMN", "s.y", "bigint", None),
    }
    before = len(loaded.versions())
    loaded.load()
    assert len(loaded.versions()) == before


@each_spark
def test_a_csv_number_beyond_a_float_makes_its_column_a_double(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": "f,n\n1.5,1\n-Inf,2\nNaN,3\n"}, schema=given(f="float", n="integer"))
    assert loaded.load().errors == []
    # What is infinite, or no number, needs no other column, and does not hide what does.
    assert loaded.load({"b.csv": "f,n\nInfinity,4\n3.4028235E38,5\n"}).errors == []
    assert loaded.types() == {"f": "float", "n": "int"}
    ran = loaded.load({"c.csv": "f,n\nInf,6\n-1e39,7\nNaN,8\n", "d.csv": "f,n\n1e400,9\n"})
    assert set(ran.failed()) == {"d.csv"}
    assert loaded.types() == {"f": "double", "n": "int"}
    assert changes(loaded) == [("TYPE_CHANGE", "f", "float", "double")]
    assert loaded.sql("SELECT CAST(f AS STRING) FROM {table} ORDER BY n") == [
        (text,)
        for text in ("1.5", "-Infinity", "NaN", "Infinity", "3.4028234663852886E38", "Infinity", "-1.0E39", "NaN")
    ]
