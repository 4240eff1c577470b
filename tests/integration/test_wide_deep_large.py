"""Of each format: 300 columns, values thirty deep, a record of a megabyte; types that widen, fields within others."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from tests.integration.conftest import Ingest
from tests.integration.ingesting import deep, innermost
from tests.integration.test_load_avro_orc import avro, orc
from tests.integration.test_load_parquet import parquet
from tests.parts import sparks

from autoloader_server.engine.explain import TOO_DEEP

pytestmark = pytest.mark.sparks(sparks.LOCAL, sparks.OLD)

MEGABYTE = "ü€x," * 2**18


def avro_row(row: Mapping[str, Any]) -> bytes:
    return avro({name: avro_type(value) for name, value in row.items()}, [dict(row)])


def avro_type(value: Any, path: str = "r") -> Any:
    """The Avro type of a value; a record is called by its place, as no two may have one name."""
    if isinstance(value, dict):
        fields = [{"name": name, "type": avro_type(each, f"{path}_{name}")} for name, each in value.items()]
        return {"type": "record", "name": path, "fields": fields}
    return "string" if isinstance(value, str) else "long"


def csv_row(row: Mapping[str, Any]) -> bytes:
    return (",".join(row) + "\n" + ",".join(f'"{value}"' for value in row.values()) + "\n").encode()


ROW: dict[str, Callable[[Mapping[str, Any]], bytes]] = {
    "csv": csv_row,
    "json": lambda row: json.dumps(row).encode() + b"\n",
    "parquet": lambda row: parquet({name: [value] for name, value in row.items()}),
    "avro": avro_row,
    "orc": lambda row: orc({name: [value] for name, value in row.items()}),
}


@pytest.mark.parametrize("kind", ROW)
def test_three_hundred_columns_and_a_record_of_a_megabyte(ingest: Ingest, kind: str) -> None:
    row = {"text": MEGABYTE, **{f"c{at}": at for at in range(299)}}
    loaded = ingest(kind, {"a": ROW[kind](row), "b": ROW[kind](row | {"text": "short"})})
    ran = loaded.load()
    assert (ran.status, ran.files, ran.records, ran.errors) == ("success", 2, 2, [])
    wide = loaded.rows("text", *[f"c{at}" for at in range(299)])
    assert sorted(values[0] for values in wide) == ["short", MEGABYTE]
    assert {values[1:] for values in wide} == {tuple(range(299))}


@pytest.mark.parametrize("kind", ["avro", "orc"])
def test_values_thirty_deep_of_formats_with_a_schema(ingest: Ingest, kind: str) -> None:
    def file(value: Any, depth: int = 29) -> bytes:
        return ROW[kind]({"v": deep(value, depth)})

    loaded = ingest(kind, {"a": file({"x": 1}), "too deep": file({"x": 1}, 40)})
    assert {name: error.message for name, error in loaded.load().failed().items()} == {"too deep": TOO_DEEP}
    assert loaded.load({"b": file({"x": 2, "new": "text"})}).errors == []
    assert loaded.versions()[0].changes_json[0]["column_name"].endswith("l0.new")
    assert sorted(innermost(value) for value in loaded.values("v")) == [(1, None), (2, "text")]


def avro_of(i: str, f: str, digits: int, inner: Mapping[str, str], row: Mapping[str, Any]) -> bytes:
    number = {"type": "bytes", "logicalType": "decimal", "precision": digits, "scale": 2}
    record = {"type": "record", "name": "inner", "fields": [{"name": n, "type": t} for n, t in inner.items()]}
    return avro({"i": i, "f": f, "d": number, "s": record}, [dict(row)])


def orc_of(i: str, f: str, digits: int, inner: Mapping[str, str], row: Mapping[str, Any]) -> bytes:
    kinds = {
        "int": pa.int32(),
        "long": pa.int64(),
        "float": pa.float32(),
        "double": pa.float64(),
        "string": pa.string(),
    }
    struct = pa.struct([(name, kinds[kind]) for name, kind in inner.items()])
    types = {"i": kinds[i], "f": kinds[f], "d": pa.decimal128(digits, 2), "s": struct}
    return orc({name: pa.array([row[name]], kind) for name, kind in types.items()})


@pytest.mark.parametrize("make", [avro_of, orc_of])
def test_columns_are_widened_and_fields_added_within_others(ingest: Ingest, make: Callable[..., bytes]) -> None:
    kind = make.__name__.partition("_")[0]
    row = {"i": 1, "f": 0.5, "d": Decimal("1.25"), "s": {"x": 1}}
    loaded = ingest(kind, {"a": make("int", "float", 6, {"x": "int"}, row)})
    assert loaded.load().errors == []
    assert loaded.types() == {"i": "int", "f": "float", "d": "decimal(6,2)", "s": "struct<x:int>"}
    wide = {"i": 2**40, "f": 1e300, "d": Decimal("123456.75"), "s": {"x": 2**40, "y": "new"}}
    ran = loaded.load(
        {
            "b": make("long", "double", 8, {"x": "long", "y": "string"}, wide),
            "c": make("string", "float", 6, {"x": "int"}, row | {"i": "text"}),
        }
    )
    assert ran.failed()["c"].message == "its column 'i' is string, the table's is bigint"
    assert (ran.status, ran.records) == ("partial", 1)
    types = {"i": "bigint", "f": "double", "d": "decimal(8,2)", "s": "struct<x:bigint,y:string>"}
    assert loaded.types() == types
    assert loaded.rows("i", "f", "d", "s") == [
        (1, 0.5, Decimal("1.25"), (1, None)),
        (2**40, 1e300, Decimal("123456.75"), (2**40, "new")),
    ]
    told = {(one["change_type"], one["column_name"]) for version in loaded.versions() for one in version.changes_json}
    assert told == {("TYPE_CHANGE", name) for name in ("i", "f", "d", "s.x")} | {("NEW_COLUMN", "s.y")}
    # A narrower file goes into what the columns have become.
    assert loaded.load({"d": make("int", "float", 6, {"x": "int"}, row)}).errors == []
    assert loaded.types() == types
