"""Avro and ORC: the files tell their columns; one that is not whole fails alone, also where Spark would not notice."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from pyarrow import orc as pyarrow_orc
from tests.integration.conftest import Ingest
from tests.parts import sparks

pytestmark = pytest.mark.sparks(sparks.LOCAL, sparks.OLD)

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def avro(fields: dict[str, Any], rows: Sequence[dict[str, Any]], codec: str = "null") -> bytes:
    """A file of small blocks; `fields` are Avro types by name."""
    schema = {"type": "record", "name": "row", "fields": [{"name": name, "type": fields[name]} for name in fields]}
    sink = io.BytesIO()
    fastavro.writer(sink, schema, rows, codec=codec, sync_interval=1000)
    return sink.getvalue()


def orc(columns: dict[str, Any], compression: str = "uncompressed") -> bytes:
    sink = io.BytesIO()
    pyarrow_orc.write_table(pa.table(columns), sink, compression=compression)
    return sink.getvalue()


def numbers(count: int, codec: str = "null") -> bytes:
    return avro({"a": "long", "b": "string"}, [{"a": at, "b": LETTERS} for at in range(count)], codec)


def test_avro_columns_land_under_their_names_and_new_ones_are_added(ingest: Ingest) -> None:
    optional = ["null", "string"]
    moment = dt.datetime(1890, 1, 1, 12, 30, tzinfo=dt.UTC)
    loaded = ingest(
        "avro",
        {
            "a.avro": avro({"a": "long", "b": optional}, [{"a": 1, "b": "x"}, {"a": 2, "b": None}]),
            "b.avro": avro({"b": optional, "a": "int"}, [{"a": 3, "b": "y"}]),
        },
    )
    assert loaded.load().errors == []
    inner = {"type": "record", "name": "inner", "fields": [{"name": "x", "type": "int"}]}
    at = {"type": "long", "logicalType": "timestamp-micros"}
    day = {"type": "int", "logicalType": "date"}
    row = {"a": 4, "at": moment, "day": dt.date(1582, 10, 10), "s": {"x": 5}}
    ran = loaded.load({"c.avro": avro({"a": "long", "at": at, "day": day, "s": inner}, [row])})
    assert ran.errors == []
    assert loaded.types() == {"a": "bigint", "b": "string", "at": "timestamp", "day": "date", "s": "struct<x:int>"}
    assert loaded.rows("a", "b", "s") == [(1, "x", None), (2, None, None), (3, "y", None), (4, None, (5,))]
    assert loaded.sql("SELECT unix_micros(at), day FROM {table} WHERE a = 4") == [
        (round(moment.timestamp() * 1e6), dt.date(1582, 10, 10))
    ]
    inner["fields"].append({"name": "y", "type": "string"})  # type: ignore[attr-defined]
    row = {"a": 5, "at": moment, "day": dt.date(1582, 10, 10), "s": {"x": 6, "y": "new"}}
    assert loaded.load({"e.avro": avro({"a": "long", "at": at, "day": day, "s": inner}, [row])}).errors == []
    assert loaded.rows("a", "s")[-1] == (5, (6, "new"))
    (error,) = loaded.load({"d.avro": avro({"a": "string"}, [{"a": "one"}])}).errors
    assert (error.category, error.message) == (
        "schema_mismatch",
        "its column 'a' is string, the table's is bigint",
    )


def test_avro_is_read_in_each_codec(ingest: Ingest) -> None:
    codecs = ["deflate", "snappy", "bzip2", "zstandard", "xz"]
    loaded = ingest("avro", {codec: numbers(200, codec) for codec in codecs})
    assert loaded.load().errors == []
    assert loaded.counts() == dict.fromkeys(codecs, 200)


def test_avro_that_is_not_whole_fails_alone(ingest: Ingest) -> None:
    whole, packed = numbers(1000), numbers(1000, "deflate")
    middle = len(packed) // 2
    sink = io.BytesIO()
    fastavro.writer(sink, {"type": "array", "items": "long"}, [[1], [2]])
    loaded = ingest(
        "avro",
        {
            "good.avro": numbers(3),
            # Spark takes it for whole, and would load the blocks before the cut.
            "cut.avro": whole[:-500],
            "head.avro": whole[:40],
            "marker.avro": whole[:-1] + bytes([whole[-1] ^ 0xFF]),
            "damaged.avro": packed[:middle]
            + bytes(byte ^ 0xFF for byte in packed[middle : middle + 40])
            + packed[middle + 40 :],
            "text.avro": "a,b\n1,2\n",
            "arrays.avro": sink.getvalue(),
            "codec.avro": numbers(3).replace(b"\x08null", b"\x08lz4_"),
            "recursive.avro": avro({"a": "long", "next": ["null", "row"]}, [{"a": 1, "next": {"a": 2, "next": None}}]),
            "digits.avro": avro(
                {"a": {"type": "bytes", "logicalType": "decimal", "precision": 50, "scale": 2}}, [{"a": Decimal(1)}]
            ),
            "twice.avro": avro({"a": "long", "A": "long"}, [{"a": 1, "A": 2}]),
        },
    )
    ran = loaded.load()
    assert ran.status == "partial"
    assert loaded.counts() == {"good.avro": 3}
    assert {name for name, error in ran.failed().items() if error.category == "schema_mismatch"} == {"twice.avro"}
    said = {name: error.message for name, error in ran.failed().items()}
    assert all(said.pop(name) for name in ("damaged.avro", "recursive.avro", "digits.avro"))
    assert said == {
        "cut.avro": "it ends in the middle of its Avro data: it was cut short; write it again, whole",
        "head.avro": "it ends in the middle of its Avro data: it was cut short; write it again, whole",
        "marker.avro": "its Avro data is damaged: a block does not end with the file's marker",
        "text.avro": "it is not an Avro file",
        "arrays.avro": "its Avro schema is no record with fields: only records become rows",
        "codec.avro": "its Avro codec is 'lz4_'; read are null, deflate, snappy, bzip2, xz, zstandard",
        "twice.avro": "it has columns that are the same but for case: 'A', 'a'",
    }


def test_orc_columns_land_under_their_names_and_new_ones_are_added(ingest: Ingest) -> None:
    loaded = ingest(
        "orc",
        {
            "a.orc": orc({"a": pa.array([1], pa.int64()), "b": ["x"]}),
            "b.orc": orc({"b": ["y"], "a": pa.array([2], pa.int32())}),
        },
    )
    assert loaded.load().errors == []
    ran = loaded.load({"c.orc": orc({"a": pa.array([3]), "s": [{"x": 5}], "day": [dt.date(1620, 10, 10)]})})
    assert ran.errors == []
    assert loaded.types() == {"a": "bigint", "b": "string", "s": "struct<x:bigint>", "day": "date"}
    assert loaded.rows("a", "b", "s", "day") == [
        (1, "x", None, None),
        (2, "y", None, None),
        (3, None, (5,), dt.date(1620, 10, 10)),
    ]


def test_orc_is_read_in_each_codec(ingest: Ingest) -> None:
    codecs = ["zlib", "snappy", "zstd", "lz4"]
    loaded = ingest("orc", {codec: orc({"a": list(range(200)), "b": [LETTERS] * 200}, codec) for codec in codecs})
    assert loaded.load().errors == []
    assert loaded.counts() == dict.fromkeys(codecs, 200)


def test_orc_that_is_not_whole_fails_alone(ingest: Ingest) -> None:
    packed = orc({"a": [(at * 7919) % 10007 for at in range(10_000)]}, "zlib")
    loaded = ingest(
        "orc",
        {
            "good.orc": orc({"a": [1]}),
            "cut.orc": packed[:-100],
            "text.orc": "a,b\n1,2\n",
            "twice.orc": orc({"a": [1], "A": [2]}),
            "damaged.orc": packed[:200] + b"\xff" * 500 + packed[700:],
        },
    )
    assert loaded.load().status == "partial"
    assert loaded.counts() == {"good.orc": 1}
    failed = loaded.files()
    assert {name for name, file in failed.items() if file.status == "FAILED"} == set(failed) - {"good.orc"}
    for name in ("cut.orc", "text.orc"):
        assert (failed[name].reason or "").startswith("it is not a whole ORC file: ")
    assert failed["twice.orc"].reason == "it has columns that are the same but for case: 'A', 'a'"
    (error,) = loaded.load({"type.orc": orc({"a": ["one"]})}).errors
    assert (error.category, error.message) == (
        "schema_mismatch",
        "its column 'a' is string, the table's is bigint",
    )


def test_instants_of_orc_before_1900_are_kept_or_their_file_fails_alone(ingest: Ingest) -> None:
    moments = [dt.datetime(1620, 1, 2, 3, 4, 5), dt.datetime(1899, 12, 31, 23, 59)]  # noqa: DTZ001 - ORC has none
    fraction = dt.datetime(1899, 12, 31, 23, 59, 0, 678)  # noqa: DTZ001
    zoned = pa.array([dt.datetime(2024, 1, 1, tzinfo=dt.UTC)], pa.timestamp("us", "UTC"))
    loaded = ingest(
        "orc",
        {
            "good.orc": orc({"at": pa.array(moments, pa.timestamp("us"))}),
            # pyarrow writes what Spark's reader stumbles over.
            "fraction.orc": orc({"at": pa.array([fraction], pa.timestamp("us"))}),
            "zone.orc": orc({"at": zoned}),
            "within.orc": orc(
                {
                    "s": pa.array(
                        [[{"m": [("k", zoned[0].as_py())]}]],
                        pa.list_(pa.struct({"m": pa.map_(pa.string(), zoned.type)})),
                    )
                }
            ),
        },
    )
    ran = loaded.load()
    assert ran.status == "partial"
    assert {name: error.category for name, error in ran.failed().items()} == dict.fromkeys(
        ("fraction.orc", "zone.orc", "within.orc"), "data_malformed"
    )
    assert "'at' is a timestamp with local time zone" in ran.failed()["zone.orc"].message
    assert "'s' is a timestamp with local time zone" in ran.failed()["within.orc"].message
    assert [row[0] for row in loaded.sql("SELECT CAST(at AS STRING) FROM {table} ORDER BY at")] == [
        "1620-01-02 03:04:05",
        "1899-12-31 23:59:00",
    ]
