"""JSON: each file is read in the way it is written, whole, or fails with a sentence; no field and no digit is lost."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import json
from decimal import Decimal
from typing import Any

import pytest
from tests.integration.conftest import Ingest
from tests.integration.ingesting import DO_NOT_FIT, NOT_TEXT, deep, innermost
from tests.parts import sparks

from autoloader_server.engine.explain import TOO_DEEP

# How files are read is up to Spark; with which Iceberg it writes is tested in test_table_behind_our_back.py.
pytestmark = pytest.mark.sparks(sparks.LOCAL, sparks.OLD)


def lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


@pytest.mark.parametrize("multiline", [None, True, False])
def test_each_layout_is_read_right_whatever_the_option_says(ingest: Ingest, multiline: bool | None) -> None:
    options = {} if multiline is None else {"multiline": multiline}
    loaded = ingest(
        "json",
        {
            "lines.json": '\n{"a": 1}\n\n   \n{"a": 2}',
            "crlf.json": '{"a": 3}\r\n{"a": 4}\r\n',
            "array.json": '[{"a": 5}, {"a": 6}]',
            "pretty_array.json": json.dumps([{"a": 7}, {"a": 8}], indent=2),
            "pretty.json": json.dumps({"a": 9}, indent=2) + "\n",
            "one.json": '{"a": 10}',
            "array_a_line.json": '[{"a": 11}]\n[{"a": 12}]\n',
            "lines.json.gz": gzip.compress(b'{"a": 13}\n{"a": 14}\n'),
            "pretty.json.bz2": bz2.compress(b'[\n{"a": 15},\n{"a": 16}\n]\n'),
            "marked.json": b'\xef\xbb\xbf{"a": 17}\n{"a": 18}\n',
            "marked_array.json": b'\xef\xbb\xbf[\n{"a": 19}]',
            "wide_array.json": '[{"a": 20},\n{"a": 21}]'.encode("utf-16"),
            "wide_pretty.json": json.dumps({"a": 24}, indent=2).encode("utf-16"),
            "blank.json": "\n  \n",
            "cr.json": '{"a": 22}\r{"a": 23}\r',
        },
        options=options,
    )
    ran = loaded.load()
    assert ran.errors == []
    assert loaded.types() == {"a": "bigint"}
    assert sorted(loaded.values("a")) == list(range(1, 25))
    assert loaded.files()["blank.json"].records == 0


def test_what_spark_would_read_in_part_or_garble_fails_with_a_sentence(ingest: Ingest) -> None:
    good = lines({"a": 1, "b": "x"})
    much = good * 10_000
    at = len(much)
    bad: dict[str, tuple[str | bytes, str]] = {
        "several_pretty.json": (
            json.dumps({"a": 1, "b": "x"}, indent=1) + "\n" + json.dumps({"a": 2}, indent=1),
            "it holds several JSON values that run over lines: write one value a line, or one array a file",
        ),
        "two_a_line.json": (
            '{"a": 1} {"a": 2}\n\n{"a": 3}\n',
            'line 1 holds something after its JSON value: \'{"a": 1} {"a": 2}\'',
        ),
        "after.json": ('{"a": 1}\n{"a": 2}}\n', "line 2 holds something after its JSON value: '{\"a\": 2}}'"),
        "after_array.json": (
            '[{"a": 1},\n{"a": 2}]x',
            "it holds several JSON values that run over lines: write one value a line, or one array a file",
        ),
        "cut.json": ('{"a": 1}\n{"a": 2, "b"', 'line 2 is not a whole JSON value: \'{"a": 2, "b"\''),
        "cut_array.json": (
            '[{"a": 1},\n{"a": 2}',
            "its JSON is not whole: what begins with '[{\"a\": 1},' is never closed",
        ),
        "scalar.json": (
            '{"a": 1}\n5\n',
            f"1 of its 2 {DO_NOT_FIT}; the first: '5'",
        ),
        "text.json": (
            "not JSON at all\n",
            f"1 of its 1 {DO_NOT_FIT}; the first: 'not JSON at all'",
        ),
        "null.json": (
            '{"a": 1}\nnull\n',
            f"1 of its 2 {DO_NOT_FIT}; the first: 'null'",
        ),
        "typed.json": (
            '{"a": 1}\n{"a": "one"}\n',
            (f"1 of its 2 {DO_NOT_FIT}; the first: '{{\"a\": \"one\"}}', where 'a' is no bigint"),
        ),
        "latin.json": (
            b'{"b": "\xfc"}\n',
            "byte 7 (0xfc) is not UTF-8: set format.options.encoding, for example to windows-1252",
        ),
        "latin_late.json": (
            much.encode() + b'{"b": "\xfc"}\n',
            f"byte {at + 7} (0xfc) is not UTF-8: set format.options.encoding, for example to windows-1252",
        ),
        "latin_marked.json": (
            b'\xef\xbb\xbf{"b": "\xfc"}\n',
            "byte 10 (0xfc) is not UTF-8: set format.options.encoding, for example to windows-1252",
        ),
        "half.json": ('{"b": "\\ud800"}\n', "byte 7: \\ud800 is half a character"),
        "wide_lines.json": (
            good.encode("utf-16"),
            (
                "it is UTF-16 with a record a line, which Spark cannot cut into lines: write it in UTF-8, or set "
                "format.options.encoding to UTF-16LE or UTF-16BE and leave the byte order mark out"
            ),
        ),
        "binary.json": (
            bytes(range(256)) * 4,
            f"byte 0 {NOT_TEXT}",
        ),
        "gzipped.json": (
            gzip.compress(good.encode()),
            "it is gzip-compressed, which its name does not say",
        ),
        "short.json.gz": (
            gzip.compress(much.encode())[:-9],
            "its gzip data ends in the middle: it was cut short; write it again, whole",
        ),
        "packed.json.zst": (
            b"\x28\xb5\x2f\xfd12",
            "it is zstd-compressed; of compressed text only gzip (.gz) and bzip2 (.bz2) is read",
        ),
        "case.json": (lines({"A": 1}), "its field 'A' differs from a column only in case"),
        "case_within.json": (lines({"s": {"X": 1}}), "its field 's.X' differs from a column only in case"),
        "twice.json": ('{"a": 1, "a": 2}\n', "its field 'a' is there more than once in one object"),
        "twice_within.json": ('[{"s": {"x": 1, "x": 2}}]', "its field 's.x' is there more than once in one object"),
        "case_lenient.json": ("{'B': 'y'}\n", "its field 'B' differs from a column only in case"),
        "digits.json": (
            '{"d": 12345678901234567890}\n',
            (
                "its field 'd' has a number that its column, a double, cannot hold without losing digits: "
                "12345678901234567890"
            ),
        ),
        "infinite.json": (
            '{"d": 1e400}\n',
            "its field 'd' has a number that its column, a double, cannot hold without losing digits: 1E+400",
        ),
    }
    loaded = ingest("json", {"good.json": lines({"a": 1, "b": "x", "d": 1.5, "s": {"x": 1}})})
    assert loaded.load().status == "success"
    more = {"more.json": good, "replacement.json": lines({"b": "\ufffd"})}
    ran = loaded.load({name: content for name, (content, _) in bad.items()} | more)
    assert {name: error.message for name, error in ran.failed().items()} == {
        name: message for name, (_, message) in bad.items()
    }
    of_fields = ("case", "digits", "infinite", "twice")
    assert {name: error.category for name, error in ran.failed().items()} == {
        name: "schema_mismatch" if name.startswith(of_fields) else "data_malformed" for name in bad
    }
    assert (ran.status, ran.files, ran.records) == ("partial", 2, 2)
    assert loaded.counts() == {"good.json": 1, "more.json": 1, "replacement.json": 1}
    assert "\ufffd" in loaded.values("b")
    assert loaded.load().message == "nothing new"


def test_the_same_fails_when_the_table_is_still_to_be_made(ingest: Ingest) -> None:
    loaded = ingest(
        "json",
        {
            "a.json": lines({"a": 1}),
            "b.json": lines({"A": 2}),
            "c.json": '{"a": 1} {"a": 2}\n',
            "d.json": '{"a": 3, "A": 4}\n',
        },
    )
    ran = loaded.load()
    assert set(ran.failed()) == {"b.json", "c.json", "d.json"}
    assert loaded.counts() == {"a.json": 1}


def test_a_field_twice_fails_its_file_also_where_it_is_new_or_makes_the_table(ingest: Ingest) -> None:
    files = {
        "a.json": lines({"a": 1}),
        "b.json": '{"a": 1, "a": 2}\n',
        "c.json": '{"a": 5, "s": {"x": 1, "x": 2}}\n',
    }
    loaded = ingest("json", files)
    ran = loaded.load()
    assert set(ran.failed()) == {"b.json", "c.json"}
    assert loaded.counts() == {"a.json": 1}
    ran = loaded.load({"g.json": '{"a": 6, "new": {"x": 1, "x": 2}}\n', "h.json": '{"a": 7, "new": {"x": 3}}\n'})
    assert set(ran.failed()) == {"g.json"}
    assert loaded.rows("a", "new") == [(1, None), (7, (3,))]


def test_a_field_twice_is_noticed_where_only_spark_reads_and_kept_within_a_value_that_is_kept_as_text(
    ingest: Ingest,
) -> None:
    loaded = ingest("json", {"a.json": lines({"a": 1, "b": "x"})})
    loaded.load()
    ran = loaded.load({"b.json": "{'a': 2, 'a': 3, 'b': 'y'}\n", "c.json": '{"a": 4, "b": {"x": 1, "x": 2}}\n'})
    assert "it has a field twice" in ran.failed()["b.json"].message
    assert loaded.values("a") == [1, 4]
    assert loaded.values("b")[-1].replace(" ", "") == '{"x":1,"x":2}'


def test_lenient_json_is_loaded_whole(ingest: Ingest) -> None:
    loaded = ingest(
        "json",
        {"a.json": "{'a': NaN, 'b': 'it''s'}\n".replace("''", "\\'"), "b.json": "[{'a': 1.5},\n{'a': Infinity}]"},
    )
    assert loaded.load().errors == []
    assert sorted(map(str, loaded.values("a"))) == ["1.5", "inf", "nan"]
    loaded.load({"c.json": "{'a': 2.5, 'c': 7}\n"})
    assert 7 in loaded.values("c")


def test_no_digit_is_lost_beyond_64_bits(ingest: Ingest) -> None:
    twenty, forty = 12345678901234567890, 1234567890123456789012345678901234567890
    loaded = ingest(
        "json",
        {
            "a.json": lines({"twenty": twenty, "forty": forty, "mixed": twenty}),
            "b.json": lines({"twenty": 1, "forty": 2, "mixed": 1.5, "s": {"forty": [forty]}}),
        },
    )
    assert loaded.load().errors == []
    assert loaded.types() == {
        "twenty": "decimal(20,0)",
        "forty": "string",
        "mixed": "string",
        "s": "struct<forty:array<string>>",
    }
    assert set(loaded.values("twenty")) == {Decimal(12345678901234567890), Decimal(1)}
    assert set(loaded.values("forty")) == {str(forty), "2"}
    assert set(loaded.values("mixed")) == {"12345678901234567890", "1.5"}
    ran = loaded.load({"c.json": '{"twenty": 1.5}\n', "d.json": '{"twenty": 123456789012345678901234}\n'})
    assert ran.failed()["c.json"].message == "its field 'twenty' has more digits after the point than its column: 1.5"
    assert loaded.types()["twenty"] == "decimal(24,0)"
    assert Decimal(123456789012345678901234) in loaded.values("twenty")


def test_integers_and_fractions_in_different_files_make_a_double(ingest: Ingest) -> None:
    loaded = ingest("json", {f"{at:02}.json": lines({"a": at}) for at in range(40)} | {"17.json": lines({"a": 1.5})})
    assert loaded.load().errors == []
    assert loaded.types() == {"a": "double"}


def test_a_column_in_one_file_of_sixty_is_not_lost(ingest: Ingest) -> None:
    files = {f"{at:02}.json": lines({"a": at}) for at in range(60)}
    loaded = ingest("json", files | {"33.json": lines({"a": 33, "rare": "here", "s": {"t": 1}})})
    assert loaded.load().errors == []
    assert [row for row in loaded.rows("a", "rare", "s") if row[1]] == [(33, "here", (1,))]


def test_new_fields_also_within_others_are_added_and_their_version_names_the_files(ingest: Ingest) -> None:
    loaded = ingest("json", {"a.json": lines({"s": {"x": 1}, "l": [{"x": 1}]})})
    loaded.load()
    ran = loaded.load({"b.json": lines({"s": {"x": 2, "y": "new"}, "l": [{"z": 3}]}), "c.json": lines({"s": {"x": 3}})})
    assert ran.errors == []
    assert loaded.types() == {"l": "array<struct<x:bigint,z:bigint>>", "s": "struct<x:bigint,y:string>"}
    assert sorted(loaded.values("s"), key=repr) == [(1, None), (2, "new"), (3, None)]
    (version,) = loaded.versions()
    assert {change["column_name"] for change in version.changes_json} == {"s.y", "l.element.z"}
    assert version.affected_files == [loaded.at("b.json")]


def test_ignored_fields_are_told_of(ingest: Ingest) -> None:
    loaded = ingest("json", {"a.json": lines({"a": 1, "s": {"x": 1}})}, on_schema_change="ignore")
    loaded.load()
    new = lines({"a": 2, "s": {"x": 1, "y": 2}, "c": 3})
    ran = loaded.load({"b.json": new, "c.json": new, "d.json": "{'a': 4, 'd': 5}\n", "e.json": lines({"c": 1})})
    assert ran.errors == []
    (note,) = ran.notes
    assert note.startswith("3 columns were ignored, since on_schema_change is ignore: ")
    assert set(note.partition(": ")[2].split(", ")) == {"c", "s.y", "d"}
    assert loaded.types() == {"a": "bigint", "s": "struct<x:bigint>"}


def test_a_column_takes_the_type_of_its_first_value(ingest: Ingest) -> None:
    nothings: dict[str, object] = {"null": None, "object": {}, "array": []}
    nothing = lines({"a": 1, **nothings, "s": {"x": 1, **nothings}})
    loaded = ingest("json", {"a.json": nothing})
    assert loaded.load().errors == []
    assert loaded.types() == {"a": "bigint", "s": "struct<x:bigint>"}
    assert loaded.load({"b.json": nothing}).errors == []
    later, within = {name: [1] for name in nothings}, {name: {"z": True} for name in nothings}
    ran = loaded.load({"c.json": lines({"a": 3, **later, "s": {"x": 1, **within}})})
    assert ran.errors == []
    struct = "struct<z:boolean>"
    assert loaded.types() == {
        "a": "bigint",
        **dict.fromkeys(nothings, "array<bigint>"),
        "s": f"struct<x:bigint,array:{struct},null:{struct},object:{struct}>",
    }


def test_a_record_of_nothing_is_a_row_of_nulls(ingest: Ingest) -> None:
    loaded = ingest("json", {"a.json": '{"a": 1}\n{}\n{"a": null}\n'})
    assert loaded.load().records == 3
    assert sorted(loaded.values("a"), key=repr) == [1, None, None]


def test_fields_may_be_called_like_what_spark_hides(ingest: Ingest) -> None:
    record = {"_corrupt_record": "a", "_metadata": "b", "_path": "c", "a.b": "d", "e`f": "g", "h i": "j", "": "k"}
    del record[""]
    loaded = ingest("json", {"ü x.json": lines(record)})
    assert loaded.load().errors == []
    assert loaded.rows(*record) == [tuple(record.values())]
    assert loaded.counts() == {"ü x.json": 1}
    ran = loaded.load({"bad.json": lines({"_corrupt_record": "x"}) + "5\n"})
    assert (
        "do not fit the table's columns (mend them, or see on_bad_record); the first: '5'"
        in ran.failed()["bad.json"].message
    )


def test_a_given_schema_is_kept_to(ingest: Ingest) -> None:
    fields = [("at", "timestamp"), ("day", "date"), ("price", "decimal(10,2)"), ("n", "integer"), ("s", "string")]
    schema = {
        "type": "struct",
        "fields": [{"name": n, "type": t, "nullable": True, "metadata": {}} for n, t in fields],
    }
    given = {"at": "1899-12-31T23:59:59.5-05:00", "day": "1582-10-10", "price": 12.25, "n": 7, "s": 1.50}
    loaded = ingest(
        "json",
        {
            "a.json": lines(given),
            "cents.json": '{"price": 1.239}\n',
            "big.json": '{"n": 3000000000}\n',
            "day.json": '{"day": "not a day"}\n',
        },
        schema={"inference": "manual", "schema_json": schema},
        on_schema_change="ignore",
    )
    ran = loaded.load()
    assert set(ran.failed()) == {"cents.json", "big.json", "day.json"}
    assert (
        ran.failed()["cents.json"].message == "its field 'price' has more digits after the point than its column: 1.239"
    )
    assert (
        ran.failed()["big.json"].message == "its field 'n' has a number that its column, int, cannot hold: 3000000000"
    )
    assert loaded.rows("day", "price", "n", "s") == [(dt.date(1582, 10, 10), Decimal("12.25"), 7, "1.5")]
    moment = dt.datetime(1900, 1, 1, 4, 59, 59, 500_000, tzinfo=dt.UTC)
    assert loaded.sql("SELECT unix_micros(at) FROM {table}") == [(round(moment.timestamp() * 1e6),)]


@pytest.mark.parametrize(
    ("declared", "codec"), [("windows-1252", "cp1252"), ("UTF-16LE", "utf-16-le"), ("UTF-16BE", "utf-16-be")]
)
def test_a_declared_encoding_is_read_right(ingest: Ingest, declared: str, codec: str) -> None:
    text = '{"a": "Grüße"}\n{"a": "ß"}\n'
    array = '[{"a": "é"},\n{"a": "è"}]'
    loaded = ingest(
        "json", {"a.json": text.encode(codec), "b.json": array.encode(codec)}, options={"encoding": declared}
    )
    assert loaded.load().errors == []
    assert loaded.values("a") == ["Grüße", "ß", "è", "é"]


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "UTF-16LE"])
def test_a_bad_record_in_another_encoding_is_shown_as_it_stands_there(ingest: Ingest, encoding: str) -> None:
    one, two = '{"id": 1, "s": "ü"}\n', '{"id": "vier", "s": "größer"}\n'
    loaded = ingest("json", {"a.json": one.encode(encoding)}, options={"encoding": encoding})
    loaded.load()
    failed = loaded.load({"b.json": (one + two).encode(encoding), "c.json": f"[{one},{two}]".encode(encoding)}).failed()
    assert {name: error.category for name, error in failed.items()} == dict.fromkeys(
        ["b.json", "c.json"], "data_malformed"
    )
    assert "1 of its 2 records" in failed["b.json"].message
    assert f"{two.strip()!r}, where 'id' is no bigint" in failed["b.json"].message
    assert "größer" in failed["c.json"].message
    assert loaded.rows() == [(1, "ü")]


def test_lines_longer_than_what_is_read_at_once_are_scanned_whole(ingest: Ingest) -> None:
    wide = {"a": 1, "text": "x" * 5_000_000}
    loaded = ingest("json", {"a.json": lines(wide, wide, wide | {"late": 1}) + lines({"a": 2}) * 1000})
    ran = loaded.load()
    assert ran.errors == []
    assert ran.records == 1003
    assert [value for value in loaded.values("late") if value is not None] == [1]


def test_a_usual_end_of_lines_that_is_not_the_files_own_loses_nothing(ingest: Ingest) -> None:
    loaded = ingest("json", {"lf.json": '{"a": 1}\n{"a": 2}\n'}, options={"line_separator": "\r\n"})
    loaded.load()
    assert loaded.load({"cr.json": '{"a": 3}\r{"a": 4}\r', "crlf.json": '{"a": 5}\r\n{"a": 6}'}).files == 2
    assert loaded.values("a") == [1, 2, 3, 4, 5, 6]


def test_what_is_too_deep_or_too_large_for_the_worker_fails_alone(ingest: Ingest) -> None:
    loaded = ingest("json", {"a.json": lines({"a": 1, "d": 1.5})})
    loaded.load()
    ran = loaded.load(
        {
            "deep.json": '{"a": 2, "q": ' + "[" * 1500 + "]" * 1500 + "}\n",
            "huge.json": '{"a": 3, "d": 1e99999999999999999999}\n',
            "good.json": lines({"a": 4, "d": 2.5}),
        }
    )
    assert {name: error.category for name, error in ran.failed().items()} == {
        "deep.json": "data_malformed",
        "huge.json": "schema_mismatch",
    }
    assert loaded.values("a") == [1, 4]
    assert loaded.load().message == "nothing new"


def test_files_that_fail_behind_their_first_line_keep_no_other_from_making_the_table(ingest: Ingest) -> None:
    bad = '{"a": 1}\n{"a": 2} {"a": 3}\n'
    loaded = ingest("json", {"a.json": bad, "b.json": bad}, limits={"max_files_per_batch": 1})
    ran = loaded.load({"c.json": '{"a": 4}\n'})
    assert (ran.status, ran.files, set(ran.failed())) == ("partial", 1, {"a.json", "b.json"})
    assert loaded.values("a") == [4]
    alone = ingest("json", {"a.json": bad})
    ran = alone.load()
    assert (ran.status, set(ran.failed())) == ("failed", {"a.json"})


def test_a_field_called_like_a_lineage_column_fails_its_file_however_it_is_written(ingest: Ingest) -> None:
    loaded = ingest("json", {"a.json": lines({"a": 1})}, options={"allow_single_quotes": True})
    assert loaded.load().errors == []
    bad = {"strict.json": lines({"a": 2, "_source_file": "x"}), "lenient.json": "{'a': 3, '_Source_File': 'x'}\n"}
    ran = loaded.load({**bad, "b.json": "{'a': 4, 'new': 1}\n"})
    assert {name: error.message for name, error in ran.failed().items()} == {
        "strict.json": "its column '_source_file' is called like a lineage column",
        "lenient.json": "its column '_Source_File' is called like a lineage column",
    }
    assert loaded.rows("a", "new") == [(1, None), (4, 1)]
    own = ingest("json", {"a.json": '{"a": 1}|{"a": 2}|'}, options={"line_separator": "|"})
    assert own.load().errors == []
    ran = own.load({"b.json": '{"a": 3, "_source_file": "x"}|'})
    assert set(ran.failed()) == {"b.json"}
    assert own.values("a") == [1, 2]


@pytest.mark.parametrize(("depth", "arrays"), [(29, False), (21, True)])
def test_values_thirty_deep_and_a_new_field_at_their_end(ingest: Ingest, depth: int, *, arrays: bool) -> None:
    def line(value: Any, depth: int = depth) -> str:
        return lines({"v": deep(value, depth, arrays=arrays)})

    loaded = ingest("json", {"a.json": line({"x": 1}), "too deep.json": line({"x": 1}, 41)}, on_bad_record="quarantine")
    ran = loaded.load()
    assert {name: error.message for name, error in ran.failed().items()} == {"too deep.json": TOO_DEEP}
    ran = loaded.load(
        {"b.json": line({"x": 2, "new": "text"}) + line({"x": "none"}), "deeper.json": line({"y": 1}, 41)}
    )
    assert {name: error.message for name, error in ran.failed().items()} == {"deeper.json": TOO_DEEP}
    assert (ran.files, ran.records) == (1, 1)
    assert loaded.versions()[0].changes_json[0]["column_name"].endswith("l0.new")
    assert sorted(innermost(value) for value in loaded.values("v")) == [(1, None), (2, "text")]
