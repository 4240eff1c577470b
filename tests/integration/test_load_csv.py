"""CSV: what RFC 4180 says is what stands in the table; anything else fails its file with a sentence."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
from decimal import Decimal

import pytest
from tests.integration.conftest import Ingest
from tests.integration.ingesting import DO_NOT_FIT, NOT_TEXT
from tests.integration.test_evolution import given
from tests.parts import sparks

# How files are read is up to Spark; with which Iceberg it writes is tested in test_table_behind_our_back.py.
pytestmark = pytest.mark.sparks(sparks.LOCAL, sparks.OLD)

GOOD = "a,b\n1,x\n2,y\n"
# What compressed text is not read, by its suffix.
PACKED = {
    "zst": "zstd",
    "xz": "xz",
    "zip": "zip",
    "lz4": "lz4",
    "snappy": "snappy",
    "br": "brotli",
    "deflate": "deflate",
}


def test_quotes_line_breaks_backslashes_and_blanks_are_kept_as_they_are(ingest: Ingest) -> None:
    rows = (
        '1,"say ""hi"", twice"\n2,"two\nlines, ""one"" field"\n3, C:\\dir\\new  \n4,"\\"\n5,"crlf\r\nwithin"\n6,#no\n'
    )
    loaded = ingest("csv", {"a.csv": "id,text\n" + rows})
    assert loaded.load().records == 6
    assert loaded.rows() == [
        (1, 'say "hi", twice'),
        (2, 'two\nlines, "one" field'),
        (3, " C:\\dir\\new  "),
        (4, "\\"),
        (5, "crlf\r\nwithin"),
        (6, "#no"),
    ]
    ran = loaded.load({"b.csv": "id,text\n#7,no comment\n"})
    assert ran.failed()["b.csv"].message.endswith("the first: '#7,no comment', where 'id' is no bigint")


@pytest.mark.parametrize("multiline", [None, False, True])
def test_each_line_end_is_stripped(ingest: Ingest, multiline: bool | None) -> None:
    options = {} if multiline is None else {"multiline": multiline}
    ends = {"lf": "\n", "crlf": "\r\n", "cr": "\r"}
    files = {f"{name}.csv": end.join(["a,b", "1,x", f"2,{name}", ""]) for name, end in ends.items()}
    loaded = ingest("csv", files, options=options)
    assert loaded.load().status == "success"
    assert loaded.rows() == [(1, "x")] * 3 + [(2, "cr"), (2, "crlf"), (2, "lf")]


def test_line_ends_may_differ_within_a_file_unless_quotes_hold_some(ingest: Ingest) -> None:
    loaded = ingest(
        "csv",
        {
            "a.csv": "a,b\n1,x\r\n2,y\r3,z\r\n",
            "b.csv": 'a,b\r\n4,"x\ny"\n5,z\r\n',
            "one_column.csv": "a\n6\r7\n",
        },
    )
    ran = loaded.load()
    assert {name: (error.category, error.message) for name, error in ran.failed().items()} == {
        "b.csv": ("data_malformed", "its lines end in different ways (CRLF, LF): write them all alike"),
        "one_column.csv": ("data_malformed", "its lines end in different ways (CR, LF): write them all alike"),
    }
    assert loaded.rows() == [(1, "x"), (2, "y"), (3, "z")]


def test_empty_lines_are_no_rows_and_an_empty_field_is_null(ingest: Ingest) -> None:
    loaded = ingest(
        "csv", {"a.csv": '\n\na,b\n\n1,\n"",y\n\n,\n\n2,""\n', "b.csv": '\na,b\n\n3,"x\n\ny"\n\n\n4,"z"\n\n'}
    )
    assert loaded.load().records == 6
    expected = [(1, None), (None, "y"), (None, None), (2, None), (3, "x\n\ny"), (4, "z")]
    assert loaded.rows() == sorted(expected, key=repr)


def test_columns_land_under_their_names_whatever_their_order(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": "a,b,c\n1,x,true\n", "b.csv": "c,a,b\nfalse,2,y\n", "c.csv": "B,C\nz,true\n"})
    assert loaded.load().status == "success"
    assert loaded.rows("a", "b", "c") == sorted([(1, "x", True), (2, "y", False), (None, "z", True)], key=repr)


def test_without_a_header_columns_are_numbered(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": b"\xef\xbb\xbf1,x\n2,y\n", "b.csv": '"3","z, z"\n'}, options={"header": False})
    assert loaded.load().status == "success"
    assert loaded.types() == {"_c0": "int", "_c1": "string"}
    assert loaded.rows() == [(1, "x"), (2, "y"), (3, "z, z")]


def test_an_empty_header_name_gets_the_name_of_its_place(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": "a,,c\n1,2,3\n"})
    assert loaded.load().status == "success"
    assert loaded.types() == {"a": "int", "_c1": "int", "c": "int"}


def test_delimiter_and_quote_are_options(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": "a;b\n1;'x;''y''\nz'\n2;\"\n"}, options={"delimiter": ";", "quote": "'"})
    assert loaded.load().status == "success"
    assert loaded.rows() == [(1, "x;'y'\nz"), (2, '"')]


def test_an_empty_quote_turns_quoting_off(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": 'a\tb\n1\t"x\n2\ty"\n'}, options={"delimiter": "\t", "quote": ""})
    assert loaded.load().status == "success"
    assert loaded.rows() == [(1, '"x'), (2, 'y"')]


def test_values_lose_nothing(ingest: Ingest) -> None:
    header = "yes,big,huge,old,zone,code,mixed,padded"
    first = "yes,12345678901234567890,1234567890123456789012345678901234567890,1582-10-10,"
    first += "2024-01-01T00:00:00+02:00,1D,1.5, 5"
    second = "no,9223372036854775808,7,0001-01-01,1899-12-31T23:59:59-05:00,2F,12345678901234567890,6 "
    loaded = ingest("csv", {"a.csv": f"{header}\n{first}\n{second}\n"})
    assert loaded.load().status == "success"
    assert loaded.types() == {
        "yes": "string",
        "big": "decimal(20,0)",
        "huge": "string",
        "old": "date",
        "zone": "timestamp",
        "code": "string",
        "mixed": "string",
        "padded": "string",
    }
    got = {name: loaded.values(name) for name in loaded.types()}
    assert got["yes"] == ["no", "yes"]
    assert set(got["big"]) == {Decimal(12345678901234567890), Decimal(9223372036854775808)}
    assert set(got["huge"]) == {"1234567890123456789012345678901234567890", "7"}
    assert set(got["old"]) == {dt.date(1582, 10, 10), dt.date(1, 1, 1)}
    assert set(got["code"]) == {"1D", "2F"}
    assert set(got["mixed"]) == {"1.5", "12345678901234567890"}
    assert set(got["padded"]) == {" 5", "6 "}
    instants = loaded.sql("SELECT unix_micros(zone) FROM {table} ORDER BY 1")
    expected = [dt.datetime(1900, 1, 1, 4, 59, 59, tzinfo=dt.UTC), dt.datetime(2023, 12, 31, 22, tzinfo=dt.UTC)]
    assert [row[0] for row in instants] == [round(moment.timestamp() * 1e6) for moment in expected]


def test_an_integer_beyond_64_bits_is_no_double(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": "d\n0.5\n"}, on_bad_record="quarantine")
    assert loaded.load().errors == []
    fit = ["9223372036854775807", "-9223372036854775808", "1e300", "12345678901234567890.0", "-1E19", "Infinity", "NaN"]
    ran = loaded.load({"b.csv": "\n".join(["d", *fit, "12345678901234567890", "-9223372036854775809", "1e400"])})
    assert (ran.status, ran.records) == ("success", len(fit))
    assert loaded.types() == {"d": "double"}
    table = loaded.table.removesuffix("`") + "__quarantine`"
    aside = loaded.sql(f"SELECT record, reason FROM {table} ORDER BY line")
    assert aside == [
        ("12345678901234567890", "'d' is no double: 12345678901234567890"),
        ("-9223372036854775809", "'d' is no double: -9223372036854775809"),
        ("1e400", "'d' is no double: 1e400"),
    ]
    assert sorted(map(str, loaded.values("d"))) == sorted(str(float(text)) for text in ["0.5", *fit])


def test_a_bad_file_fails_alone_and_its_error_shows_the_first_bad_record(ingest: Ingest) -> None:
    loaded = ingest("csv", {f"good{at}.csv": GOOD for at in range(3)}, on_schema_change="ignore")
    assert loaded.load().status == "success"
    bad = {
        "few.csv": "a,b\n1,x\n2\n",
        "many.csv": "a,b\n1,x\n2,y,z\n3,4,5\n",
        "typed.csv": "a,b\n1,x\nseven,y\n",
        "fraction.csv": "a,b\n1.5,x\n",
        "long.csv": "a,b\n99999999999,x\n",
    }
    ran = loaded.load(bad | {"more.csv": "a,b\n3,z\n"})
    assert ran.status == "partial"
    assert (ran.files, ran.records) == (1, 1)
    failed = ran.failed()
    assert set(failed) == set(bad)
    assert {error.category for error in failed.values()} == {"data_malformed"}
    assert failed["few.csv"].message == f"1 of its 2 {DO_NOT_FIT}; the first: '2'"
    assert failed["many.csv"].message == f"2 of its 3 {DO_NOT_FIT}; the first: '2,y,z'"
    assert failed["typed.csv"].message.endswith("the first: 'seven,y', where 'a' is no int")
    assert failed["fraction.csv"].message.endswith("the first: '1.5,x', where 'a' is no int")
    assert failed["long.csv"].message.endswith("the first: '99999999999,x', where 'a' is no int")
    assert loaded.counts() == {"good0.csv": 2, "good1.csv": 2, "good2.csv": 2, "more.csv": 1}
    assert loaded.load().message == "nothing new"


def test_files_that_are_not_what_they_seem_fail_with_a_sentence(ingest: Ingest) -> None:
    long = "a,b\n" + "1,x\n" * 40_000
    packed = bz2.compress(GOOD.encode())
    bad: dict[str, str | bytes] = {
        "binary.csv": bytes(range(256)) * 8,
        "nul.csv": long.encode() + b"2,\0\n",
        "gzipped.csv": gzip.compress(GOOD.encode()),
        "upper.csv.GZ": gzip.compress(GOOD.encode()),
        "short.csv.gz": gzip.compress(long.encode())[:-20],
        "short.csv.bz2": bz2.compress(long.encode())[:-20],
        "damaged.csv.gz": gzip.compress(long.encode())[:200] + b"garbage" * 50,
        "after.csv.bz2": bz2.compress(GOOD.encode()) + b"and more",
        "damaged.csv.bz2": packed[:4] + b"garbage" + packed[11:],
        "upper.csv.BZ2": bz2.compress(GOOD.encode()),
        **{f"packed.csv.{suffix}": b"\x28\xb5\x2f\xfd1234" for suffix in PACKED},
        "latin.csv": "a,b\n1,ü\n".encode("latin-1"),
        "latin_late.csv": long.encode() + "2,ü\n".encode("latin-1"),
        "latin_late.csv.gz": gzip.compress(long.encode() + "2,ü\n".encode("latin-1")),
        "utf16_no_mark.csv": GOOD.encode("utf-16-le"),
        "open.csv": 'a,b\n1,"x\n2,y\n3,z\n',
        "open_late.csv": long + '2,"y\n3,z\n',
        "open_twice.csv": 'a,b\n1,"x\n2,y\n3,"z\n4,w\n',
        "inch.csv": 'a,b\n1,5" disk\n2,y\n',
        "twice.csv": "a,b,A\n1,2,3\n",
        "same.csv": "a,b,a\n1,2,3\n",
        "blanks_first.csv": '   \na,b\n1,"x\ny"\n',
        "blanks_first_cr.csv": ' \ra,b\r1,"x\ry"\r',
    }
    good: dict[str, str | bytes] = {
        "good.csv": GOOD,
        "good.csv.gz": gzip.compress(GOOD.encode()),
        "good.csv.bz2": bz2.compress(GOOD.encode()) + bz2.compress(b"3,z\n"),
    }
    loaded = ingest("csv", bad | good)
    ran = loaded.load()
    not_utf8 = "(0xfc) is not UTF-8: set format.options.encoding, for example to windows-1252"
    assert {name: error.message for name, error in ran.failed().items()} == {
        "binary.csv": f"byte 0 {NOT_TEXT}",
        "nul.csv": f"byte 160006 {NOT_TEXT}",
        "gzipped.csv": "it is gzip-compressed, which its name does not say",
        "upper.csv.GZ": "its name ends in .GZ, which Spark does not take for gzip: name it .gz",
        "short.csv.gz": "its gzip data ends in the middle: it was cut short; write it again, whole",
        "short.csv.bz2": "its bzip2 data ends in the middle: it was cut short; write it again, whole",
        "damaged.csv.gz": ran.failed()["damaged.csv.gz"].message,
        "after.csv.bz2": ran.failed()["after.csv.bz2"].message,
        "damaged.csv.bz2": ran.failed()["damaged.csv.bz2"].message,
        "upper.csv.BZ2": "its name ends in .BZ2, which Spark does not take for bzip2: name it .bz2",
        **{
            f"packed.csv.{suffix}": (
                f"it is {name}-compressed; of compressed text only gzip (.gz) and bzip2 (.bz2) is read"
            )
            for suffix, name in PACKED.items()
        },
        "latin.csv": f"byte 6 {not_utf8}",
        "latin_late.csv": f"byte 160006 {not_utf8}",
        "latin_late.csv.gz": f"byte 160006 {not_utf8}",
        "utf16_no_mark.csv": "it looks like UTF-16 without a byte order mark: set format.options.encoding "
        "(UTF-16LE, UTF-16BE)",
        "open.csv": ran.failed()["open.csv"].message,
        "open_late.csv": "a quote in it is never closed, or stands within a field without being doubled",
        "open_twice.csv": "a quote in it is never closed, or stands within a field without being doubled",
        "inch.csv": "a quote in it is never closed, or stands within a field without being doubled",
        "twice.csv": "its header has columns that are the same but for case: 'a', 'A'",
        "same.csv": "its header has columns that are the same but for case: 'a'",
        "blanks_first.csv": "its first line holds nothing but blanks: take it away",
        "blanks_first_cr.csv": "its first line holds nothing but blanks: take it away",
    }
    assert ran.failed()["damaged.csv.gz"].message.startswith("its gzip data is damaged: ")
    for name in ("after.csv.bz2", "damaged.csv.bz2"):
        assert ran.failed()[name].message.startswith("its bzip2 data is damaged: ")
    assert "quote" in ran.failed()["open.csv"].message
    assert (ran.status, ran.message) == ("partial", f"3 files loaded; {len(bad)} files could not be")
    mismatched = {name for name, error in ran.failed().items() if error.category != "data_malformed"}
    assert (mismatched, ran.failed()["twice.csv"].category) == ({"twice.csv", "same.csv"}, "schema_mismatch")
    assert loaded.counts() == {"good.csv": 2, "good.csv.gz": 2, "good.csv.bz2": 3}
    assert loaded.load().message == "nothing new"

    mended = loaded.load({"latin.csv": "a,b\n1,ü\n"})
    assert (mended.status, mended.files) == ("success", 1)
    assert "ü" in loaded.values("b")


@pytest.mark.parametrize(
    ("declared", "codec"),
    [
        ("latin-1", "latin-1"),
        ("windows-1252", "cp1252"),
        ("Shift_JIS", "shift_jis"),
        ("UTF-16LE", "utf-16-le"),
        ("UTF-16", "utf-16"),
        ("utf8", "utf-8"),
    ],
)
def test_a_declared_encoding_is_read_right(ingest: Ingest, declared: str, codec: str) -> None:
    word = "表ソ" if codec == "shift_jis" else "Grüße"
    text = f'a,{word}\n1,{word}\n2,"{word}\n{word}"\n'
    loaded = ingest(
        "csv",
        {"a.csv": text.encode(codec), "b.csv": f"a,{word}\n3,{word}\n".encode(codec)},
        options={"encoding": declared},
    )
    assert loaded.load().errors == []
    assert loaded.rows("a", word) == [(1, word), (2, f"{word}\n{word}"), (3, word)]


def test_bytes_that_are_not_of_the_declared_encoding_fail_the_file(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": b"a,b\n1,\x81\n", "b.csv": b"a,b\n2,\xe4\n"}, options={"encoding": "cp1252"})
    ran = loaded.load()
    assert "byte 6 (0x81) is not cp1252" in ran.failed()["a.csv"].message
    assert loaded.rows() == [(2, "ä")]


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16"])
def test_an_undeclared_encoding_with_a_mark_is_read_right(ingest: Ingest, codec: str) -> None:
    loaded = ingest("csv", {"a.csv": 'a,b\n1,ü\n2,"ß\nx"\n'.encode(codec)})
    assert loaded.load().errors == []
    assert loaded.rows("a", "b") == [(1, "ü"), (2, "ß\nx")]


def test_a_replacement_character_that_is_really_there_is_loaded(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": "a\n\ufffd\n"})
    assert loaded.load().status == "success"
    assert loaded.rows() == [("\ufffd",)]


def test_three_hundred_columns_are_loaded_and_one_too_few_is_noticed(ingest: Ingest) -> None:
    header = ",".join(f"c{at}" for at in range(300))
    row = ",".join(str(at) for at in range(300))
    loaded = ingest("csv", {"a.csv": f"{header}\n{row}\n", "b.csv": f"{header}\n{row}\n{row[:-4]}\n"})
    ran = loaded.load()
    assert set(ran.failed()) == {"b.csv"}
    assert loaded.rows() == [tuple(range(300))]


def test_a_header_alone_is_loaded_as_no_rows(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": "a,b\n", "b.csv": "a,b"})
    ran = loaded.load()
    assert (ran.status, ran.files, ran.records) == ("success", 2, 0)
    assert {name: known.status for name, known in loaded.files().items()} == {"a.csv": "SUCCESS", "b.csv": "SUCCESS"}
    assert loaded.types() == {"a": "string", "b": "string"}
    assert loaded.load({"c.csv": GOOD}).records == 2


def test_new_and_missing_columns_are_ignored_if_told_so_and_the_run_says_which(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": GOOD}, on_schema_change="ignore")
    loaded.load()
    ran = loaded.load({"b.csv": "d,a,c\nq,3,7\n"})
    assert ran.status == "success"
    missing = f"missing in files of a batch, and null there: b (1 file, such as {loaded.at('b.csv')})"
    assert ran.notes == ["2 columns were ignored, since on_schema_change is ignore: d, c", missing]
    assert loaded.rows() == [(1, "x"), (2, "y"), (3, None)]
    assert loaded.versions() == []


def test_new_columns_are_added_and_their_version_names_the_files(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": GOOD})
    loaded.load()
    ran = loaded.load({"b.csv": "a,b,c\n3,z,7\n", "c.csv": "a,b\n4,w\n"})
    assert ran.status == "success"
    assert loaded.rows("a", "b", "c") == [(1, "x", None), (2, "y", None), (3, "z", 7), (4, "w", None)]
    (version,) = loaded.versions()
    assert version.version == 2
    assert version.affected_files == [loaded.at("b.csv")]
    files = version.affected_files
    assert version.changes_json == [
        {"change_type": "NEW_COLUMN", "column_name": "c", "old_type": None, "new_type": "int", "files": files}
    ]


def test_a_column_called_like_our_lineage_column_fails_its_file(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": GOOD})
    loaded.load()
    ran = loaded.load({"b.csv": "a,_Source_File\n1,x\n", "c.csv": "a,b\n3,z\n"})
    assert ran.failed()["b.csv"].message == "its column '_Source_File' is called like a lineage column"
    assert ran.failed()["b.csv"].category == "schema_mismatch"
    assert ran.files == 1


def test_no_table_is_made_with_a_column_called_like_our_lineage_column(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": "a,_Source_File\n1,x\n"})
    ran = loaded.load()
    assert ran.status == "failed"
    assert "a column '_source_file', which is also a lineage column" in (ran.message or "").lower()
    assert not loaded.service.spark.session().catalog.tableExists(loaded.table)


def test_what_spark_makes_of_a_value_is_as_the_known_limits_say(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": "code,at\n007,2024-01-01T00:00:00.123456789Z\n010,2024-01-01T00:00:01Z\n"})
    assert loaded.load().errors == []
    assert loaded.types() == {"code": "int", "at": "timestamp"}
    assert set(loaded.values("code")) == {7, 10}
    assert [row[0] % 10**6 for row in loaded.sql("SELECT unix_micros(at) FROM {table} ORDER BY at")] == [123456, 0]

    rows = "code,share\n007,1D\n"
    typed = ingest("csv", {"a.csv": rows}, schema=given(code="string", share="double"))
    assert typed.load().errors == []
    assert typed.rows("code", "share") == [("007", 1.0)]


def test_a_value_that_a_decimal_or_a_float_does_not_hold_fails_its_file(ingest: Ingest) -> None:
    schema = given(id="integer", price="decimal(5,2)", weight="float", most="decimal(38,2)", far="double")
    loaded = ingest(
        "csv",
        {
            "a.csv": "id,price,weight,most\n1,1.230,1.5,1.25\n2,-999.99,Inf,\n3,,NaN,-1\n4,1e2,-3.4028234e38,0\n",
            "rounded here ü.csv": "id,price,weight,most\n5,1.23,0,0\n6,1.239,0,0\n",
            "infinite.csv": "id,price,weight,most\n7,0,1e39,0\n",
            "wide.csv": "id,price,weight,most\n8,1000.5,0,0\n",
            "most.csv": f"id,most\n9,1\n10,{'9' * 36}.995\n",
            "words.csv": "id,most\n11,many\n",
            "small.csv": "id,most\n12,12e-3\n",
            "tiny.csv": "id,most\n22,1e-1000000000\n",
            "over.csv": "id,price\n18,999.999\n",
            "blank.csv": "id,most\n19,1.555 \n",
            "almost.csv": "id,most\n20,1.0000000000000000000000000000000000000001\n",
            "far.csv": "id,far\n13,1e308\n14,-1e400\n",
            "right.csv": f'id,most,far\n15,{"9" * 36}.9900,Infinity\n16,"1,234.5",-Inf\n17,1200e-1,NaN\n',
            "float.csv": "id,weight,most,price\n21,3.4028235E38,0e-50,.5\n",
        },
        schema=schema,
        on_schema_change="ignore",
    )
    ran = loaded.load()
    failed = {name: (one.category, one.message) for name, one in ran.failed().items()}
    assert failed == {
        name: ("data_malformed", f"1 of its {all_of_them} {DO_NOT_FIT}; the first: {record!r}, where {what}")
        for name, all_of_them, record, what in [
            ("rounded here ü.csv", 2, "6,1.239,0,0", "'price' is no decimal(5,2)"),
            ("infinite.csv", 1, "7,0,1e39,0", "'weight' is no float"),
            ("wide.csv", 1, "8,1000.5,0,0", "'price' is no decimal(5,2)"),
            ("most.csv", 2, f"10,{'9' * 36}.995", "'most' is no decimal(38,2)"),
            ("words.csv", 1, "11,many", "'most' is no decimal(38,2)"),
            ("small.csv", 1, "12,12e-3", "'most' is no decimal(38,2)"),
            ("tiny.csv", 1, "22,1e-1000000000", "'most' is no decimal(38,2)"),
            ("over.csv", 1, "18,999.999", "'price' is no decimal(5,2)"),
            ("blank.csv", 1, "19,1.555 ", "'most' is no decimal(38,2)"),
            ("almost.csv", 1, f"20,1.{'0' * 39}1", "'most' is no decimal(38,2)"),
            ("far.csv", 2, "14,-1e400", "'far' is no double"),
        ]
    }
    assert loaded.rows("id", "price") == [
        (1, Decimal("1.23")),
        (15, None),
        (16, None),
        (17, None),
        (2, Decimal("-999.99")),
        (21, Decimal("0.50")),
        (3, None),
        (4, Decimal("100.00")),
    ]
    assert loaded.sql("SELECT most, CAST(far AS STRING) FROM {table} WHERE id IN (15, 16, 17) ORDER BY id") == [
        (Decimal("9" * 36 + ".99"), "Infinity"),
        (Decimal("1234.50"), "-Infinity"),
        (Decimal("120.00"), "NaN"),
    ]
    assert [row[0] for row in loaded.sql("SELECT weight FROM {table} WHERE id IN (2, 4) ORDER BY id")] == [
        float("inf"),
        pytest.approx(-3.4028234e38),
    ]
    again = loaded.load({"later.csv": "id,price,weight,most\n9,1.999,0,0\n"})
    assert "'price' is no decimal(5,2)" in again.failed()["later.csv"].message
    assert len(loaded.rows("id")) == 8


def test_decimals_in_another_language_are_not_rounded(ingest: Ingest) -> None:
    loaded = ingest(
        "csv",
        {
            "a.csv": "id;price\n1;1.234,50\n2;0,5\n",
            "over.csv": "id;price\n3;99999,999\n",
            "long.csv": "id;price\n4;1,239\n",
        },
        schema=given(id="integer", price="decimal(7,2)"),
        options={"delimiter": ";", "locale": "de-DE"},
        on_schema_change="ignore",
    )
    assert set(loaded.load().failed()) == {"over.csv", "long.csv"}
    assert loaded.rows("id", "price") == [(1, Decimal("1234.50")), (2, Decimal("0.50"))]


def test_a_column_of_numbers_beyond_a_double_is_text(ingest: Ingest) -> None:
    loaded = ingest("csv", {"a.csv": "far,most\n1.5,Inf\n-1e400,1e308\n"})
    assert loaded.load().errors == []
    assert loaded.types() == {"far": "string", "most": "double"}
    assert loaded.rows() == [("-1e400", 1e308), ("1.5", float("inf"))]


def test_columns_may_be_called_like_what_spark_hides(ingest: Ingest) -> None:
    names = ["_corrupt_record", "_metadata", "_path", "a.b", "c`d", "e f", "c0", "C1"]
    loaded = ingest("csv", {"a.csv": ",".join(names) + "\n" + ",".join("12345678") + "\n"})
    assert loaded.load().errors == []
    assert loaded.rows(*names) == [(1, 2, 3, 4, 5, 6, 7, 8)]


def test_a_usual_end_of_lines_that_is_not_the_files_own_loses_nothing(ingest: Ingest) -> None:
    loaded = ingest("csv", {"crlf.csv": "a,b\r\n1,x\r\n2,y\r\n"}, options={"line_separator": "\n"})
    loaded.load()
    assert loaded.load({"lf.csv": "a,b\n3,z\n", "cr.csv": "a,b\r4,w\r5,v\r"}).errors == []
    assert loaded.rows("a", "b") == [(1, "x"), (2, "y"), (3, "z"), (4, "w"), (5, "v")]
