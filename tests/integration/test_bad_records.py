"""Bad records, on a real table: their file fails, they are rescued, or they are set aside. None is lost or doubled."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from sqlalchemy import select
from tests.integration.conftest import Ingest
from tests.integration.ingesting import Ingestion
from tests.parts import sparks

from autoloader_sdk.models import IngestionUpdate, RefreshRequest
from autoloader_server.db.tables import processed_files, runs
from autoloader_server.engine import sift
from autoloader_server.services import batches, ingestions
from autoloader_server.services.refresh import refresh

on_each_spark = pytest.mark.sparks(*sparks.ALL)
GOOD_JSON = '{"id": 1, "x": 1.5, "s": "a"}\n{"id": 2, "x": 2.5, "s": "b"}\n'
GOOD_CSV = "id,x,s\n1,1.5,a\n2,2.5,b\n"
Bad = tuple[str, int | None, str]
QUARANTINE = (
    "path STRING, line BIGINT, record STRING, reason STRING, batch_id STRING, run_id STRING, ingestion_id STRING, "
    "quarantined_at TIMESTAMP"
)
# A line of JSON that is bad beside the columns `id bigint, x double, s string`, and a word of the reason.
BAD_LINES: list[tuple[bytes, str]] = [
    (b'{"id": "three", "x": 3.5, "s": "c"}', "'id' is no bigint: \"three\""),
    (b'{"id": 3, "x": {"y": 1}, "s": "c"}', "'x' is no double"),
    (b'{"id": 3, "x": 3.5, "s": "c"} {"id": 4}', "something after its JSON value"),
    (b'{"id": 3, "x": 3.5, "s": "c"', "not a whole JSON value"),
    (b'{"id": 3, "x": 3.5, "s": "caf\xe9"}', "is not UTF-8"),
    (b'{"id": 3, "x": 3.5, "s": "\\ud800"}', "half a character"),
    (
        b'{"id": 3, "x": 123456789012345678901234567890, "s": "c"}',
        "the field 'x' has a number that its column, a double, cannot",
    ),
    (b'{"ID": 3, "x": 3.5, "s": "c"}', "differs from a column only in case"),
    (b'{"id": 3, "x": 3.5, "s": "c", "id": 4}', "'id' is there more than once"),
    (b'{"id": 123456789012345678901234567890, "s": "c"}', "'id' is no bigint"),
    (b"no JSON at all", "is no strict JSON"),
    (b"3", "is no object"),
    (b"null", "is no object"),
]


def set_aside(ingestion: Ingestion, *columns: str) -> list[tuple[Any, ...]]:
    """The quarantine table; of each record its file, line and text, without `columns`."""
    table = ingestion.table.removesuffix("`") + "__quarantine`"
    names = columns or ("path", "line", "record")
    rows = ingestion.sql(f"SELECT {', '.join(names)} FROM {table}")
    return sorted((tuple(ingestion.relative(str(v)) for v in row) for row in rows), key=repr)


def counted(ingestion: Ingestion) -> dict[str, int | None]:
    """Bad records by file, in the ledger, and of the last run under the name of none."""
    files = processed_files.c
    with ingestion.service.database.read() as connection:
        rows = connection.execute(
            select(files.path, files.bad_records).where(files.ingestion_id == ingestion.id, files.current)
        ).all()
        last = connection.execute(
            select(runs.c.bad_records)
            .where(runs.c.ingestion_id == ingestion.id)
            .order_by(runs.c.created_at.desc())
            .limit(1)
        ).scalar_one()
    return {ingestion.relative(path): number for path, number in rows if number} | {"": last}


@on_each_spark
def test_each_kind_of_bad_line_is_set_aside(ingest: Ingest) -> None:
    made = ingest("json", {"a.json": GOOD_JSON}, on_bad_record="quarantine")
    assert made.load().records == 2
    lines = [line for line, _ in BAD_LINES]
    good = b'{"id": 9, "x": 9.5, "s": "z"}'
    between = b"\n".join(part for line in lines for part in (good, line))
    ran = made.load({"b.json": between + b"\n\n" + good, "c.json": '{"id": 3, "x": 3.5, "s": "c"}\n'})
    assert (ran.status, ran.files, ran.records) == ("success", 2, len(lines) + 2), ran
    assert ran.notes[-1] == f"{len(lines)} bad records were set aside in {name(made)}__quarantine"
    assert made.counts() == {"a.json": 2, "b.json": len(lines) + 1, "c.json": 1}
    shown = [line.decode("utf-8", "backslashreplace") for line in lines]
    expected = [("b.json", str(2 * at + 2), text) for at, text in enumerate(shown)]
    assert set_aside(made) == sorted(expected, key=repr)
    reasons = dict(set_aside(made, "record", "reason"))
    for text, (_, word) in zip(shown, BAD_LINES, strict=True):
        assert word in reasons[text]
    assert counted(made) == {"b.json": len(lines), "": len(lines)}
    assert made.load().message == "nothing new"


@on_each_spark
def test_each_kind_of_bad_line_is_rescued(ingest: Ingest) -> None:
    made = ingest("json", {"a.json": GOOD_JSON}, on_bad_record="rescue")
    assert made.load().records == 2
    assert made.types() == {"id": "bigint", "x": "double", "s": "string", "_rescued_data": "string"}
    lines = [line for line, _ in BAD_LINES]
    ran = made.load({"b.json": b"\n".join([*lines, b'{"id": 9, "x": 9.5, "s": "z"}'])})
    assert (ran.status, ran.files, ran.records) == ("success", 1, len(lines) + 1)
    assert ran.notes[-1] == f"{len(lines)} bad records were rescued: _rescued_data has them"
    shown = [line.decode("utf-8", "backslashreplace") for line in lines]
    kept = {row[3]: row[:3] for row in made.rows("id", "x", "s", "_rescued_data")}
    assert sorted(kept, key=repr) == sorted([None, *shown], key=repr)
    # Of a value that does not fit, the others are kept; of a line that cannot be read, or would be read wrongly, none.
    assert kept[shown[0]] == (None, 3.5, "c")
    assert kept[shown[1]] == (3, None, "c")
    assert all(kept[text] == (None, None, None) for text in shown[2:9])
    assert kept[shown[9]] == (None, None, "c")
    assert len([row for row in made.rows("_rescued_data") if row[0] is None]) == 3


@on_each_spark
def test_csv_records_are_set_aside(ingest: Ingest) -> None:
    made = ingest("csv", {"a.csv": GOOD_CSV}, on_bad_record="quarantine")
    assert made.load().records == 2
    content = 'id,x,s\n3,3.5,c\nfour,4.5,d\n5,5.5\n6,6.5,f,too much\n7,7.5,"seven ""7"", 7"\n\nfour,4.5,d\n'
    ran = made.load({"b.csv": content, "c.csv.gz": gzip.compress(b"s,id\nx,8\ny,nine\n", mtime=0)})
    assert (ran.status, ran.files, ran.records) == ("success", 2, 3)
    assert [row[0] for row in made.rows("id")] == [1, 2, 3, 7, 8]
    assert set_aside(made) == [
        ("b.csv", "3", "four,4.5,d"),
        ("b.csv", "4", "5,5.5"),
        ("b.csv", "5", "6,6.5,f,too much"),
        ("b.csv", "8", "four,4.5,d"),
        ("c.csv.gz", "3", "y,nine"),
    ]
    assert dict(set_aside(made, "record", "reason")) == {
        "four,4.5,d": "'id' is no int: four",
        "5,5.5": "it has 2 fields, its file 3 columns",
        "6,6.5,f,too much": "it has 4 fields, its file 3 columns",
        "y,nine": "'id' is no int: nine",
    }
    assert counted(made) == {"b.csv": 4, "c.csv.gz": 1, "": 5}


@pytest.mark.sparks(sparks.LOCAL, sparks.OLD)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_good_records_are_read_alike_beside_bad_ones(ingest: Ingest, end: str) -> None:
    rows = ["s,n", f'"x{end}y",1', '"p\r\nq",2', "z,3", ",4"]
    bad = [f'"b{end}b",many', "two", "c,5,more"]
    alone, beside = end.join([*rows, ""]), end.join([*rows, *bad, ""])
    made = ingest("csv", {"a.csv": alone}, on_bad_record="quarantine")
    assert made.load().errors == []
    ran = made.load({"b.csv": beside, "blank.csv": end})
    assert (ran.errors, ran.files, ran.records) == ([], 2, 4)
    found = made.rows("s", "n", "_source_file")
    values = {name: [row[:2] for row in found if str(row[2]).endswith(name)] for name in ("a.csv", "b.csv")}
    assert sorted(values["b.csv"], key=repr) == sorted(values["a.csv"], key=repr)
    assert {row[2] for row in set_aside(made)} == set(bad)


@on_each_spark
@pytest.mark.parametrize("rule", ["quarantine", "rescue"])
def test_a_value_that_its_column_would_round_is_a_bad_record(ingest: Ingest, rule: str) -> None:
    typed = [field("id", "integer"), field("price", "decimal(5,2)"), field("most", "decimal(38,2)")]
    typed += [field("weight", "float"), field("far", "double"), field("s", "string")]
    schema = {"inference": "manual", "schema_json": {"type": "struct", "fields": typed}}
    made = ingest("csv", schema=schema, on_bad_record=rule, on_schema_change="ignore")
    good = ["1,1.5,1.5,1.5,Inf,a", '2,,,,,"b, ""b"""', "3,999.99,1e2,NaN,-Infinity,c"]
    bad = ["4,1.239,,,,d", "5,,1.005,,,e", "6,,,-1e39,,f", '7,,,,1e400,"g\ng"', "8,1.5", '""', "9,999.999,,,,i"]
    head = "id,price,most,weight,far,s"
    ran = made.load(
        {
            "a.csv": "\n".join([head, good[0], *bad, good[1]]) + "\n",
            "b.csv": f"{head}\n{good[2]}\n",
            "one.csv": "s\none\nt,wo\n,\n",
        }
    )
    assert (ran.status, ran.files, ran.errors) == ("success", 3, [])
    assert counted(made) == {"a.csv": len(bad), "one.csv": 2, "": len(bad) + 2}
    if rule == "quarantine":
        assert ran.records == len(good) + 1
        lines = [3, 4, 5, 6, 8, 9, 10]
        expected = [("a.csv", str(line), text) for line, text in zip(lines, bad, strict=True)]
        assert set_aside(made) == sorted([*expected, ("one.csv", "3", "t,wo"), ("one.csv", "4", ",")], key=repr)
        reasons = dict(set_aside(made, "record", "reason"))
        assert reasons["5,,1.005,,,e"] == "'most' is no decimal(38,2): 1.005"
        assert reasons['7,,,,1e400,"g\ng"'] == "'far' is no double: 1e400"
        assert reasons['""'] == "it has 1 field, its file 6 columns"
    else:
        kept = {row[-1]: row[:-1] for row in made.rows("id", "price", "most", "weight", "s", "_rescued_data")}
        assert {text for text in kept if text} == {*bad, "t,wo", ","}
        assert kept["4,1.239,,,,d"] == (4, None, None, None, "d")
        assert kept["6,,,-1e39,,f"] == (6, None, None, None, "f")
    assert made.load().message == "nothing new"


@pytest.mark.sparks(sparks.LOCAL, sparks.OLD)
def test_csv_records_are_rescued(ingest: Ingest) -> None:
    made = ingest("csv", {"a.csv": GOOD_CSV}, on_bad_record="rescue")
    made.load()
    ran = made.load({"b.csv": "id,x,s\nthree,3.5,c\n4,4.5\n5,5.5,e,more\n6,6.5,f\n"})
    assert (ran.status, ran.records) == ("success", 4)
    assert made.rows("id", "x", "s", "_rescued_data")[2:] == [
        (4, 4.5, None, "4,4.5"),
        (5, 5.5, "e", "5,5.5,e,more"),
        (6, 6.5, "f", None),
        (None, 3.5, "c", "three,3.5,c"),
    ]


@on_each_spark
def test_records_over_several_lines_are_set_aside(ingest: Ingest) -> None:
    made = ingest("csv", {"a.csv": GOOD_CSV}, on_bad_record="quarantine")
    made.load()
    content = 'id,x,s\n3,3.5,"c\nc"\nfour,4.5,"d\nd"\n5,5.5,e\nsix,6.5,f\n'
    ran = made.load({"b.csv": content})
    assert (ran.status, ran.records) == ("success", 2)
    assert set_aside(made) == [("b.csv", "4", 'four,4.5,"d\nd"'), ("b.csv", "7", "six,6.5,f")]


def test_by_default_the_file_fails(ingest: Ingest) -> None:
    made = ingest("json", {"a.json": GOOD_JSON})
    made.load()
    ran = made.load({"b.json": GOOD_JSON + '{"id": "x"}\n'})
    assert (ran.status, ran.records) == ("failed", 0)
    assert made.counts() == {"a.json": 2}


def test_a_run_with_nothing_new_tells_of_files_that_failed_before(ingest: Ingest) -> None:
    made = ingest("json", {"a.json": GOOD_JSON, "b.json": '{"id": "x"}\n{"id": 1\n'})
    assert made.load().status == "partial"
    ran = made.load()
    assert (ran.status, ran.message) == ("success", "nothing new")
    assert ran.notes == ["failed before: 1 file, still in no table; status FAILED lists them"]
    assert made.load({"b.json": '{"id": 3}\n'}).notes == []


def test_what_the_ingestion_does_not_limit_the_settings_do(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ingest("json", {"a.json": GOOD_JSON}, on_bad_record="quarantine", limits={"max_attempts": 1})
    monkeypatch.setattr(made.service.settings, "max_bad_records_per_file", 1)
    made.load()
    ran = made.load({"b.json": '{"id": 3}\nno\nnothing\n'})
    assert "more than 1 bad records" in ran.failed()["b.json"].message


@pytest.mark.sparks(sparks.LOCAL, sparks.OLD)
def test_past_the_limit_the_file_fails_after_all(ingest: Ingest) -> None:
    made = ingest("json", {"a.json": GOOD_JSON}, on_bad_record="quarantine", limits={"max_bad_records_per_file": 2})
    made.load()
    two, three = '{"id": "x"}\nnope\n', '{"id": "x"}\n{"id": "y"}\n{"id": "z"}\n'
    cut = '{"id": 1\n' * 3
    ran = made.load({"two.json": GOOD_JSON + two, "three.json": GOOD_JSON + three, "cut.json": GOOD_JSON * 2 + cut})
    assert (ran.status, ran.files, ran.records) == ("partial", 1, 2)
    for file in ("three.json", "cut.json"):
        assert "more than 2 bad records (limits.max_bad_records_per_file)" in ran.failed()[file].message
        assert ran.failed()[file].category == "data_malformed"
    assert set_aside(made) == [("two.json", "3", '{"id": "x"}'), ("two.json", "4", "nope")]


def test_what_has_no_records_to_tell_apart_fails_as_a_whole(ingest: Ingest) -> None:
    made = ingest("json", {"a.json": GOOD_JSON}, on_bad_record="quarantine")
    made.load()
    ran = made.load(
        {
            "array.json": '[{"id": 3},\n {"id": "x"}]',
            "arrays.json": '{"id": 3}\n[{"id": 4}, {"id": 5}]\n{"id": "x"}\n',
            "cut.json.gz": gzip.compress(GOOD_JSON.encode(), mtime=0)[:-9],
            "good.json": '{"id": 3}\n',
        }
    )
    assert (ran.status, ran.files, ran.records) == ("partial", 1, 1)
    assert set(ran.failed()) == {"array.json", "arrays.json", "cut.json.gz"}
    assert "line 2 holds an array" in ran.failed()["arrays.json"].message
    assert made.counts() == {"a.json": 2, "good.json": 1}


def test_a_file_of_nothing_but_bad_records_and_one_that_makes_the_table(ingest: Ingest) -> None:
    schema = {"inference": "manual", "schema_json": {"type": "struct", "fields": [field("id", "long")]}}
    made = ingest("csv", {"bad.csv": "id\nx\ny\n"}, schema=schema, on_bad_record="quarantine")
    ran = made.load()
    assert (ran.status, ran.files, ran.records) == ("success", 1, 0)
    assert set_aside(made) == [("bad.csv", "2", "x"), ("bad.csv", "3", "y")]
    assert made.rows("id") == []
    assert made.load().message == "nothing new"
    assert made.load({"good.csv": "id\n1\n"}).records == 1


@pytest.mark.sparks(sparks.LOCAL, sparks.OLD)
def test_the_first_files_may_have_bad_lines(ingest: Ingest) -> None:
    made = ingest("json", {"a.json": GOOD_JSON + '{"id": 3\n', "b.json": GOOD_JSON}, on_bad_record="quarantine")
    ran = made.load()
    assert (ran.status, ran.files, ran.records) == ("success", 2, 4)
    assert set_aside(made) == [("a.json", "3", '{"id": 3')]


@pytest.mark.sparks(sparks.LOCAL, sparks.OLD)
def test_new_columns_of_a_file_with_bad_lines_are_added(ingest: Ingest) -> None:
    made = ingest("json", {"a.json": GOOD_JSON}, on_bad_record="quarantine")
    made.load()
    ran = made.load({"b.json": '{"id": 3, "more": true}\n{"id": 4, "more": 3\n'})
    assert (ran.status, ran.records) == ("success", 1)
    assert made.types()["more"] == "boolean"
    assert made.rows("id", "more")[-1] == (3, True)
    assert set_aside(made) == [("b.json", "2", '{"id": 4, "more": 3')]


def test_a_refresh_and_a_deletion_take_the_quarantine_along(ingest: Ingest) -> None:
    made = ingest("csv", {"a.csv": GOOD_CSV}, on_bad_record="quarantine")
    made.load()
    made.load({"b.csv": "id,x,s\nthree,3,c\n4,4,d\n"})
    answer = refresh(made.service, made.id, RefreshRequest(confirm=True), "full")
    assert answer.run_id is not None
    ran = made.wait(answer.run_id)
    # `three` makes the column a text now: the table is made anew from both files.
    assert (ran.status, ran.records) == ("success", 4)
    tables = "SHOW TABLES IN lake." + made.spec.destination.database
    assert [row[1] for row in made.sql(tables)] == [made.spec.destination.table]
    made.load({"c.csv": "id,x,s\n5,many,e\n"})
    assert [row[1] for row in made.sql(tables)] == [
        made.spec.destination.table,
        made.spec.destination.table + "__quarantine",
    ]
    ingestions.delete(made.service, made.id, delete_table=True)
    assert made.sql(tables) == []


def test_a_table_of_somebody_else_is_not_written_to(ingest: Ingest) -> None:
    made = ingest("csv", {"a.csv": GOOD_CSV}, on_bad_record="quarantine")
    made.load()
    other = made.table.removesuffix("`") + "__quarantine`"
    made.sql(f"CREATE TABLE {other} (a INT) USING iceberg")
    ran = made.load({"b.csv": "id,x,s\nthree,3,c\n4,4.5,d\n"})
    assert ran.status == "failed"
    assert f"{name(made)}__quarantine is no quarantine table of this autoloader database" in (ran.message or "")
    assert made.sql(f"SELECT * FROM {other}") == []
    assert [row[0] for row in made.rows("id")] == [1, 2]
    made.sql(f"DROP TABLE {other}")
    assert made.load().records == 1
    assert set_aside(made) == [("b.csv", "2", "three,3,c")]


def test_lines_that_are_not_quite_strict_keep_their_fields_or_are_set_aside(ingest: Ingest) -> None:
    made = ingest("json", {"a.json": GOOD_JSON}, on_bad_record="quarantine")
    made.load()
    lines = [
        '{"id": 3, "x": NaN, "s": "c", "more": 1}',
        "{'id': 4, 'x': 4.5, 's': 'd', 'lost': 1}",
        '{"ID": 5, "x": NaN, "s": "e"}',
        '{"id": 6',
    ]
    ran = made.load({"b.json": "\n".join(lines)})
    assert (ran.status, ran.records) == ("success", 1)
    assert made.types()["more"] == "bigint"
    assert "lost" not in made.types()
    assert str(made.rows("id", "x", "more")[-1]) == "(3, nan, 1)"
    assert set_aside(made) == [("b.json", str(at), lines[at - 1]) for at in (2, 3, 4)]
    assert [row[0] for row in set_aside(made, "reason")] == [
        "the field 'ID' differs from a column only in case",
        "the line is no strict JSON",
        "the line is not a whole JSON value",
    ]


def test_a_column_comes_of_good_lines_alone(ingest: Ingest) -> None:
    made = ingest("json", {"a.json": GOOD_JSON}, on_bad_record="quarantine")
    made.load()
    lines = [
        '{"id": 3, "new": 1}',
        '{"ID": 4, "other": 1}',
        '{"id": "five", "odd": 1}',
        '{"id": 6, "x": "six", "new": "text"}',
        '{"id": 7} {"junk": 1}',
    ]
    ran = made.load({"b.json": "\n".join(lines)})
    assert (ran.status, ran.files, ran.records) == ("success", 1, 1)
    assert made.types() == {"id": "bigint", "x": "double", "s": "string", "new": "bigint"}
    assert made.rows("id", "new")[-1] == (3, 1)
    assert [row[1] for row in set_aside(made)] == ["2", "3", "4", "5"]


@pytest.mark.sparks(sparks.LOCAL, sparks.OLD)
def test_the_table_is_made_of_good_lines_alone(ingest: Ingest) -> None:
    bad = ['{"id": 3, "extra": 1} {"junk": 1}', "3", '{"caf\\ud800": 1}', '{"cut": 1, "x']
    made = ingest("json", {"a.json": "\n".join(['{"id": 4}', *bad])}, on_bad_record="quarantine")
    ran = made.load()
    assert (ran.status, ran.files, ran.records) == ("success", 1, 1)
    assert made.types() == {"id": "bigint"}
    assert [row[1] for row in set_aside(made)] == ["2", "3", "4", "5"]


@pytest.mark.parametrize("bad", ['{"id": 3, "extra": 1} {"junk": 1}', '{"caf\\ud800": 1}'])
def test_the_table_has_no_column_of_a_file_that_fails_behind_its_first_line(ingest: Ingest, bad: str) -> None:
    made = ingest("json", {"a.json": GOOD_JSON, "b.json": f'{{"id": 3, "more": 1}}\n{bad}\n'})
    ran = made.load()
    assert (ran.status, ran.files, set(ran.failed())) == ("partial", 1, {"b.json"})
    assert made.types() == {"id": "bigint", "x": "double", "s": "string"}


def test_a_table_is_made_of_what_loads_though_a_sampled_file_fails(ingest: Ingest) -> None:
    made = ingest("json", {"a.json": '{"id": 3, "more": 1}\n{"id": 3} {"id": 4}\n', "b.json": GOOD_JSON})
    ran = made.load()
    assert (ran.status, set(ran.failed())) == ("partial", {"a.json"})
    assert made.types() == {"id": "bigint", "x": "double", "s": "string"}


def test_a_file_with_two_new_fields_that_differ_in_case_fails_alone(ingest: Ingest) -> None:
    made = ingest("json", {"a.json": GOOD_JSON})
    made.load()
    ran = made.load({"b.json": '{"id": 3, "New": 1}\n{"id": 4, "new": 2}\n', "c.json": '{"id": 5, "more": 1}\n'})
    assert (ran.status, ran.files, ran.records) == ("partial", 1, 1)
    assert "two that differ only in case" in ran.failed()["b.json"].message
    assert made.types()["more"] == "bigint"


def test_a_line_with_nothing_but_a_comment_is_no_record(ingest: Ingest) -> None:
    made = ingest("json", {"a.json": GOOD_JSON}, options={"allow_comments": True}, on_bad_record="rescue")
    made.load()
    lines = ['{"id": "x"}', '/* c */ {"id": 4, "lost": 1}', '/* c */ {"id": 5} {"id": 6}']
    ran = made.load({"b.json": "\n".join(["// what follows", '{"id": 3}', *lines, "/* the end */ // of it"])})
    assert (ran.status, ran.records) == ("success", 4)
    assert made.rows("id", "_rescued_data")[2:] == [(3, None), *((None, line) for line in sorted(lines))]


def test_of_two_records_behind_a_comment_none_is_lost(ingest: Ingest) -> None:
    made = ingest("json", {"a.json": GOOD_JSON}, options={"allow_comments": True})
    made.load()
    ran = made.load({"b.json": '{"id": 3}\n/* c */ {"id": 5} {"id": 6}\n', "c.json": '/* c */ {"id": 7, "new": 1}\n'})
    assert set(ran.failed()) == {"b.json"}
    assert made.rows("id", "new")[2:] == [(7, 1)]


@pytest.mark.parametrize("rule", ["fail", "append_new_columns"])
def test_a_bad_record_is_no_change_of_the_schema(ingest: Ingest, rule: str) -> None:
    made = ingest("json", {"a.json": GOOD_JSON}, on_bad_record="quarantine", on_schema_change=rule)
    made.load()
    ran = made.load({"b.json": '{"id": 3}\n{"ID": 4}\n', "c.json": '{"x": 123456789012345678901234567890}\n'})
    assert (ran.status, ran.files, ran.records) == ("success", 2, 1)
    assert [row[:2] for row in set_aside(made)] == [("b.json", "2"), ("c.json", "1")]


@pytest.mark.parametrize("first", ["1,1.5", "1,1.5,a,more"])
def test_a_bad_first_record_does_not_say_how_many_columns_there_are(ingest: Ingest, first: str) -> None:
    options = {"header": False}
    made = ingest("csv", {"a.csv": "1,1.5,a\n2,2.5,b\n"}, options=options, on_bad_record="quarantine")
    made.load()
    ran = made.load({"b.csv": f"{first}\n3,3.5,c\n4,4.5,d\n"})
    assert (ran.status, ran.records) == ("success", 2)
    assert made.types() == {"_c0": "int", "_c1": "double", "_c2": "string"}
    assert set_aside(made) == [("b.csv", "1", first)]


def test_lines_are_placed_in_an_encoding_that_java_calls_otherwise(ingest: Ingest) -> None:
    made = ingest("csv", {"a.csv": GOOD_CSV}, options={"encoding": "mac-roman"}, on_bad_record="quarantine")
    made.load()
    ran = made.load({"b.csv": "id,x,s\n3,3.5,c\nd\xe9,4.5,\xfc\n".encode("mac-roman")})
    assert (ran.status, ran.records) == ("success", 1)
    assert set_aside(made) == [("b.csv", "3", "d\xe9,4.5,\xfc")]


def test_a_byte_order_mark_counts_at_the_beginning_only(ingest: Ingest) -> None:
    made = ingest("json", {"a.json": GOOD_JSON}, on_bad_record="quarantine")
    made.load()
    mark = "\ufeff"
    ran = made.load({"b.json": f'{mark}{{"id": 3}}\n{mark}{{"id": 4}}\n{{"id": 5\n'})
    assert (ran.status, ran.records) == ("success", 1)
    assert set_aside(made) == [("b.json", "2", f'{mark}{{"id": 4}}'), ("b.json", "3", '{"id": 5')]


@pytest.mark.parametrize("content", ['{"a":\n{"id": 3}\n', '[\n{"id": 3},\n{"id": 4}\n', '{\n"id": 3,\n'])
def test_what_begins_a_value_over_several_lines_is_no_file_of_lines(ingest: Ingest, content: str) -> None:
    made = ingest("json", {"a.json": GOOD_JSON}, on_bad_record="quarantine")
    made.load()
    ran = made.load({"cut.json": content})
    assert (ran.status, ran.files) == ("failed", 0)
    assert set(ran.failed()) == {"cut.json"}


def test_what_stands_in_a_comment_is_no_quote(ingest: Ingest) -> None:
    made = ingest("csv", {"a.csv": "# first of all\n" + GOOD_CSV}, options={"comment": "#"}, on_bad_record="quarantine")
    assert made.load().records == 2
    ran = made.load(
        {
            "b.csv": 'id,x,s\n# a comment\n3,3.5,"c\nfour,4.5,d\n5,5.5,e\n',
            "c.csv": "id,x,s\n# it's 5\" wide\nsix,6.5,f\n7,7.5,g\n",
            "d.csv": 'id,x,s\n8,8.5,"h\n# no comment\nh"\nnine,9.5,i\n',
            "e.csv": b"id,x,s\n10,8.5,\xe9\nten,9.5,i\n",
        }
    )
    assert set(ran.failed()) == {"b.csv", "e.csv"}
    assert "(0xe9) is not UTF-8" in ran.failed()["e.csv"].message
    assert "a quote in it is never closed" in ran.failed()["b.csv"].message
    assert (ran.files, ran.records) == (2, 2)
    assert set_aside(made) == [("c.csv", "3", "six,6.5,f"), ("d.csv", "5", "nine,9.5,i")]
    assert made.rows("id", "s")[-1] == (8, "h\n# no comment\nh")


def test_a_number_too_wide_widens_its_column_also_beside_bad_records(ingest: Ingest) -> None:
    made = ingest("csv", {"a.csv": GOOD_CSV}, on_bad_record="quarantine")
    made.load()
    ran = made.load({"b.csv": "id,x,s\n12345678901,3.5,c\nfour,4.5,d\n"})
    assert (ran.status, ran.records) == ("success", 1)
    assert made.types()["id"] == "bigint"
    assert made.rows("id")[-1] == (2,)
    assert (12345678901,) in made.rows("id")
    assert set_aside(made) == [("b.csv", "3", "four,4.5,d")]


def test_a_file_with_known_bad_records_is_not_blamed_for_another_one(ingest: Ingest) -> None:
    made = ingest("csv", {"a.csv": GOOD_CSV}, on_bad_record="quarantine", limits={"max_files_per_batch": 2})
    made.load()
    cut = gzip.compress(b"id,x,s\n" + b"".join(b"%d,1.5,%d\n" % (n, n * 7919) for n in range(5000)), mtime=0)[:-20]
    bad = "id,x,s\n{0},3.5,c\nwrong,4.5,d\n"
    ran = made.load({"b.csv": bad.format(3), "c.csv.gz": cut, "d.csv": bad.format(4), "e.csv": bad.format(5)})
    assert set(ran.failed()) == {"c.csv.gz"}
    assert (ran.files, ran.records) == (3, 3)
    assert [row[0] for row in set_aside(made)] == ["b.csv", "d.csv", "e.csv"]


def test_more_bad_records_than_fit_come_in_several_batches(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sift, "_MOST_LETTERS", 120)
    monkeypatch.setattr(sift, "_AT_ONCE", 3)
    made = ingest("json", {"a.json": GOOD_JSON}, on_bad_record="quarantine")
    made.load()
    ran = made.load(
        {f"b{n}.json": f'{{"id": {n}}}\n{{"id": "{"x" * 30}"}}\n{{"id": {"1" * 8}\n' for n in range(8)}
        | {"c.json": '{"id": 9}\n{"id": "' + "y" * 120 + '"}\n', "d.json": '{"id": 9}\n{"id": "' + "z" * 120 + "\n"}
    )
    assert set(ran.failed()) == {"c.json", "d.json"}
    assert all("its bad records have more than" in failed.message for failed in ran.errors)
    assert (ran.files, ran.records) == (8, 8)
    assert len(set_aside(made)) == 16
    # Of 120 letters those of two files fit.
    assert len(set(set_aside(made, "batch_id"))) == 4


def test_a_held_batch_of_bad_records_alone_is_loaded_when_it_is_released(ingest: Ingest) -> None:
    quality = {"row_count_threshold": 2, "on_low_row_count": "hold"}
    made = ingest("csv", {"a.csv": GOOD_CSV}, on_bad_record="quarantine", quality=quality)
    made.load()
    assert made.load({"b.csv": "id,x,s\nthree,3.5,c\n"}).records == 0
    (batch,) = batches.find(made.service, made.id, status=["held"]).items
    ran = made.wait(batches.decide(made.service, made.id, batch.id, "release").run_id)
    assert (ran.status, ran.files, ran.records) == ("success", 1, 0)
    assert set_aside(made) == [("b.csv", "2", "three,3.5,c")]
    assert made.load().message == "nothing new"


@on_each_spark
def test_a_column_that_somebody_adds_to_the_quarantine_stays_empty(ingest: Ingest) -> None:
    made = ingest("csv", {"a.csv": GOOD_CSV}, on_bad_record="quarantine")
    made.load()
    made.load({"b.csv": "id,x,s\nthree,3.5,c\n"})
    aside = made.table.removesuffix("`") + "__quarantine`"
    made.sql(f"ALTER TABLE {aside} ADD COLUMN mended BOOLEAN")
    made.sql(f"UPDATE {aside} SET mended = true")
    assert made.load({"c.csv": "id,x,s\nfour,4.5,d\n"}).status == "success"
    assert set_aside(made, "record", "mended") == [("four,4.5,d", "None"), ("three,3.5,c", "True")]


@pytest.mark.parametrize(("columns", "ours"), [("a INT", True), ("a INT", False), (QUARANTINE, False)])
def test_a_table_of_somebody_else_is_not_dropped(ingest: Ingest, columns: str, *, ours: bool) -> None:
    made = ingest("csv", {"a.csv": GOOD_CSV}, on_bad_record="quarantine")
    made.load()
    other = made.table.removesuffix("`") + "__quarantine`"
    ledger = made.service.ledger_id if ours else "another"
    made.sql(f"CREATE TABLE {other} ({columns}) USING iceberg TBLPROPERTIES ('autoloader.ledger-id' = '{ledger}')")
    ingestions.delete(made.service, made.id, delete_table=True)
    assert made.sql(f"SELECT * FROM {other}") == []
    made.sql(f"DROP TABLE {other}")


def field(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "type": kind, "nullable": True, "metadata": {}}


def name(ingestion: Ingestion) -> str:
    to = ingestion.spec.destination
    return f"{to.catalog}.{to.database}.{to.table}"


def test_what_was_rescued_stays_where_columns_are_dropped_that_no_file_has(ingest: Ingest) -> None:
    made = ingest("json", {"a.json": GOOD_JSON}, on_bad_record="rescue", on_schema_change="sync_all_columns")
    made.load()
    made.load({"b.json": '{"id": 3, "x": 1.5, "s": "c"}\n{"id": "no 3"}\n'})
    ingestions.change(made.service, made.id, IngestionUpdate.model_validate({"on_bad_record": "fail"}))
    assert made.load({"c.json": '{"id": 4, "x": 2.5}\n'}).errors == []
    # The column that this run's file lacks is gone, that of the rescued records is not.
    assert made.types() == {"id": "bigint", "x": "double", "_rescued_data": "string"}
    assert [text for (text,) in made.rows("_rescued_data") if text] == ['{"id": "no 3"}']


@pytest.mark.sparks(sparks.LOCAL, sparks.OLD)
def test_the_rule_may_change_from_run_to_run(ingest: Ingest) -> None:
    made = ingest("json", {"a.json": GOOD_JSON})

    def rule(name: str) -> None:
        ingestions.change(made.service, made.id, IngestionUpdate.model_validate({"on_bad_record": name}))

    def bad(number: int) -> str:
        return f'{{"id": {number}}}\n{{"id": "no {number}"}}\n'

    made.load()
    rule("rescue")
    assert made.load({"b.json": bad(3)}).files == 1
    assert made.rows("id", "_rescued_data") == [(1, None), (2, None), (3, None), (None, '{"id": "no 3"}')]
    rule("quarantine")
    assert made.load({"c.json": bad(4)}).files == 1
    assert set_aside(made, "record") == [('{"id": "no 4"}',)]
    rule("fail")
    ran = made.load({"d.json": bad(5), "e.json": '{"id": 6}\n'})
    assert (ran.status, ran.files, set(ran.failed())) == ("partial", 1, {"d.json"})
    assert sorted(made.values("id"), key=str) == [1, 2, 3, 4, 6, None]
    # What was set aside goes with the table, whatever the rule is by now; the new one is made from all files, as text.
    rule("rescue")
    answer = refresh(made.service, made.id, RefreshRequest(confirm=True), "full")
    assert made.wait(answer.run_id).status == "success"
    assert not made.sql(f"SHOW TABLES IN lake.`{made.table.split('`')[3]}` LIKE '*__quarantine'")
    assert sorted(made.values("id")) == ["1", "2", "3", "4", "5", "6", "no 3", "no 4", "no 5"]
