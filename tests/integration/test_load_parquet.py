"""Parquet: the footers tell the columns; what does not go into the table's without loss fails its file."""

from __future__ import annotations

import datetime as dt
import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.integration.conftest import Ingest
from tests.integration.ingesting import deep, innermost
from tests.parts import sparks

from autoloader_server.engine.explain import TOO_DEEP

# How files are read is up to Spark; with which Iceberg it writes is tested in test_table_behind_our_back.py.
pytestmark = pytest.mark.sparks(sparks.LOCAL, sparks.OLD)


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, **options)
    return sink.getvalue()


def test_columns_land_under_their_names_and_narrower_numbers_are_widened(ingest: Ingest) -> None:
    loaded = ingest(
        "parquet",
        {
            "a.parquet": parquet({"a": pa.array([1], pa.int64()), "b": ["x"]}),
            "b.parquet": parquet({"b": ["y"], "a": pa.array([2], pa.int32())}),
            "c.parquet": parquet({"a": pa.array([3], pa.int16())}),
            "d.parquet": parquet({"B": ["z"], "c": [True]}),
        },
    )
    assert loaded.load().errors == []
    assert loaded.types() == {"a": "bigint", "b": "string", "c": "boolean"}
    expected = [(1, "x", None), (2, "y", None), (3, None, None), (None, "z", True)]
    assert loaded.rows("a", "b", "c") == sorted(expected, key=repr)


def test_new_fields_within_others_are_added(ingest: Ingest) -> None:
    loaded = ingest("parquet", {"a.parquet": parquet({"s": [{"x": 1}], "l": [[{"x": 1}]]})})
    loaded.load()
    ran = loaded.load({"b.parquet": parquet({"s": [{"y": "new", "x": 2}], "l": [[{"x": 2, "z": 3}]]})})
    assert ran.errors == []
    assert loaded.rows("l", "s") == [([(1, None)], (1, None)), ([(2, 3)], (2, "new"))]
    assert {change["column_name"] for change in loaded.versions()[0].changes_json} == {"s.y", "l.element.z"}


def test_another_type_fails_the_file_with_the_column_and_both_types(ingest: Ingest) -> None:
    good = {
        "a": pa.array([1], pa.int32()),
        "b": ["x"],
        "at": pa.array([dt.datetime(2024, 1, 1, tzinfo=dt.UTC)], pa.timestamp("us", "UTC")),
    }
    loaded = ingest("parquet", {"good.parquet": parquet(good)})
    loaded.load()
    ran = loaded.load(
        {
            "text.parquet": parquet({"a": ["one"]}),
            "real.parquet": parquet({"a": pa.array([1.5], pa.float64())}),
            "number.parquet": parquet({"b": [1]}),
            "local.parquet": parquet({"at": pa.array([dt.datetime(2024, 1, 1, tzinfo=dt.UTC)], pa.timestamp("us"))}),
            "more.parquet": parquet(good),
        }
    )
    assert {name: (error.category, error.message) for name, error in ran.failed().items()} == {
        "text.parquet": ("schema_mismatch", "its column 'a' is string, the table's is int"),
        "real.parquet": ("schema_mismatch", "its column 'a' is double, the table's is int"),
        "number.parquet": ("schema_mismatch", "its column 'b' is bigint, the table's is string"),
        "local.parquet": ("schema_mismatch", "its column 'at' is timestamp_ntz, the table's is timestamp"),
    }
    assert (ran.status, ran.files) == ("partial", 1)


def test_files_that_are_not_whole_fail_alone(ingest: Ingest) -> None:
    whole = parquet({"a": list(range(10_000))}, compression="none", use_dictionary=False)
    damaged = parquet({"a": list(range(10_000))}, compression="gzip", use_dictionary=False)
    damaged = damaged[:200] + b"\xff" * 500 + damaged[700:]
    loaded = ingest(
        "parquet",
        {
            "good.parquet": parquet({"a": [1]}),
            "cut.parquet": whole[:-100],
            "half.parquet": whole[: len(whole) // 2],
            "text.parquet": "a,b\n1,2\n",
            "damaged.parquet": damaged,
            "twice.parquet": parquet({"a": [1], "A": [2]}),
            "time.parquet": parquet({"a": [1], "t": pa.array([1], pa.time64("ns"))}),
            "nanos.parquet": parquet({"a": [1], "t": pa.array([1], pa.timestamp("ns"))}),
        },
    )
    ran = loaded.load()
    failed = ran.failed()
    assert set(failed) == {
        "cut.parquet",
        "half.parquet",
        "text.parquet",
        "damaged.parquet",
        "twice.parquet",
        "time.parquet",
        "nanos.parquet",
    }
    assert all(
        failed[name].message.startswith("it is not a whole Parquet file: ")
        for name in ("cut.parquet", "half.parquet", "text.parquet")
    )
    assert failed["twice.parquet"].message == "it has columns that are the same but for case: 'A', 'a'"
    # On 3.5 an object that cannot be read to its end may be the store's fault.
    told = failed.pop("damaged.parquet").category
    assert told == "data_malformed" or (told == "unknown" and loaded.at("").startswith("s3:"))
    assert {error.category for error in failed.values()} == {"data_malformed", "schema_mismatch"}
    assert loaded.counts() == {"good.parquet": 1}


def test_dates_before_1900_and_columns_called_like_what_spark_hides_are_kept(ingest: Ingest) -> None:
    columns = {"day": [dt.date(1, 1, 1), dt.date(1582, 10, 10)], "_metadata": ["a", "b"], "x.y": [1, 2]}
    loaded = ingest("parquet", {"ü.parquet": parquet(columns)})
    assert loaded.load().errors == []
    assert loaded.rows("day", "_metadata", "x.y") == [(dt.date(1, 1, 1), "a", 1), (dt.date(1582, 10, 10), "b", 2)]
    assert loaded.counts() == {"ü.parquet": 2}


def test_it_is_read_in_each_codec(ingest: Ingest) -> None:
    codecs = ["none", "snappy", "gzip", "zstd", "lz4"]
    loaded = ingest("parquet", {codec: parquet({"a": list(range(200))}, compression=codec) for codec in codecs})
    assert loaded.load().errors == []
    assert loaded.counts() == dict.fromkeys(codecs, 200)


def test_no_rows_are_loaded_as_no_rows(ingest: Ingest) -> None:
    loaded = ingest("parquet", {"a.parquet": parquet({"a": pa.array([], pa.int64())})})
    ran = loaded.load()
    assert (ran.status, ran.files, ran.records) == ("success", 1, 0)


LONG_AGO = [
    dt.datetime(1, 1, 1, tzinfo=dt.UTC),
    dt.datetime(1582, 10, 10, 12, tzinfo=dt.UTC),
    dt.datetime(1899, 12, 31, 23, 59, 59, 123456, tzinfo=dt.UTC),
    dt.datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=dt.UTC),
    dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC),
]


def test_instants_are_the_same_however_they_are_written(ingest: Ingest) -> None:
    def column(unit: str, zone: str | None) -> pa.Array:
        moments = LONG_AGO if zone else [moment.replace(tzinfo=None) for moment in LONG_AGO]
        # Milliseconds drop what is below them, towards 1970.
        return pa.array(moments, pa.timestamp("us", zone)).cast(pa.timestamp(unit, zone), safe=False)

    ids = list(range(len(LONG_AGO)))
    some = pa.array(LONG_AGO[1:4], pa.timestamp("us", "UTC"))
    loaded = ingest(
        "parquet",
        {
            "micros.parquet": parquet({"id": ids, "at": column("us", "UTC")}),
            "millis.parquet": parquet({"id": ids, "at": column("ms", "UTC")}),
            "zone.parquet": parquet({"id": ids[1:4], "at": some.cast(pa.timestamp("us", "+05:30"))}),
            # The 96 bits of Impala, Hive and old Sparks. (pyarrow writes them from nanoseconds, which begin in 1677.)
            "int96.parquet": parquet({"id": ids[2:4], "at": some[1:]}, use_deprecated_int96_timestamps=True),
        },
    )
    assert loaded.load().errors == []
    assert loaded.types() == {"id": "bigint", "at": "timestamp"}
    found = {}
    for name, number, micros in loaded.sql("SELECT _source_file, id, unix_micros(at) FROM {table}"):
        found[name.rpartition("/")[2], number] = micros
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    wanted = [(moment - epoch) // dt.timedelta(microseconds=1) for moment in LONG_AGO]
    assert found == (
        {("micros.parquet", number): wanted[number] for number in ids}
        | {
            ("millis.parquet", number): (abs(wanted[number]) // 1000 * 1000) * (1 if wanted[number] > 0 else -1)
            for number in ids
        }
        | {("zone.parquet", number): wanted[number] for number in ids[1:4]}
        | {("int96.parquet", number): wanted[number] for number in ids[2:4]}
    )
    local = ingest("parquet", {"a.parquet": parquet({"at": column("us", None)})})
    assert local.load().errors == []
    assert local.types() == {"at": "timestamp_ntz"}
    assert [row[0] for row in local.sql("SELECT CAST(at AS STRING) FROM {table} ORDER BY at")] == [
        "0001-01-01 00:00:00",
        "1582-10-10 12:00:00",
        "1899-12-31 23:59:59.123456",
        "2024-02-29 01:02:03.000004",
        "9999-12-31 23:59:59.999999",
    ]


def test_values_thirty_deep(ingest: Ingest) -> None:
    def file(value: Any, depth: int = 29) -> bytes:
        return parquet({"v": [deep(value, depth)]})

    loaded = ingest("parquet", {"a.parquet": file({"x": 1}), "too deep.parquet": file({"x": 1}, 40)})
    assert {name: error.message for name, error in loaded.load().failed().items()} == {"too deep.parquet": TOO_DEEP}
    assert loaded.load({"b.parquet": file({"x": 2, "new": "text"})}).errors == []
    assert loaded.versions()[0].changes_json[0]["column_name"].endswith("l0.new")
    assert sorted(innermost(value) for value in loaded.values("v")) == [(1, None), (2, "text")]
