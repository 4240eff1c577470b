"""The head of a CSV file: what Spark must be told, and what must not reach it."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import types as T

from autoloader_sdk.discovery.csvfiles import CsvHead, CsvOptions, csv_head, csv_records
from autoloader_sdk.discovery.heads import Head
from autoloader_server.engine.errors import FileFailure
from autoloader_server.engine.formats.base import Look
from autoloader_server.engine.formats.csv_files import Csv
from autoloader_server.engine.formats.json_files import Json

RFC = CsvOptions()
# Of what asks for it and does not use it.
NO_SPARK: Any = None


def head_of(data: bytes, options: CsvOptions = RFC) -> CsvHead:
    head = csv_head(Head(data, whole=True), options)
    assert head is not None
    return head


@pytest.mark.parametrize(
    ("data", "columns"),
    [
        (b"a,b\n1,2\n", ("a", "b")),
        (b"a,b", ("a", "b")),
        (b"a,b\r\n", ("a", "b")),
        (b"a,b\r1,2", ("a", "b")),
        (b"a,b\n\n \n", ("a", "b")),
        (b"\n \t\r\na,b\n1,2", ("a", "b")),
        (b'"a ""x""","b,c\nd",e\n1,2,3', ('a "x"', "b,c\nd", "e")),
        (b'"a"x,"",y"z\n', ("ax", "", 'y"z')),
        (b'"a\\",b\n1', ("a\\", "b")),
        (b" a , b \n", (" a ", " b ")),
        (b"\xef\xbb\xbfa,b\n", ("a", "b")),
        ("ä,ß\n1,2".encode(), ("ä", "ß")),
    ],
)
def test_the_first_record_is_read_as_rfc_4180_says(data: bytes, columns: tuple[str, ...]) -> None:
    head = head_of(data)
    assert (head.columns, head.problem) == (columns, None)


@pytest.mark.parametrize("data", [b"", b"\n\n", b"  \t\n ", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"])
def test_a_file_without_a_record_is_empty(data: bytes) -> None:
    head = head_of(data)
    assert (head.columns, head.problem) == ((), None)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=2, max_size=6))
def test_a_header_that_python_wrote_comes_back(columns: list[str]) -> None:
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL).writerow(columns)
    data = written.getvalue().encode()
    assert head_of(data).columns == tuple(columns)
    for cut in range(len(data)):  # a head that ends anywhere before the record does says so, and never guesses
        assert csv_head(Head(data[:cut], whole=False), RFC) is None or cut >= len(data) - 1


@pytest.mark.parametrize(
    ("options", "data", "columns"),
    [
        ({"delimiter": ";"}, b"a;b,c\n", ("a", "b,c")),
        ({"sep": "||"}, b'a||"b||c"||d\n', ("a", "b||c", "d")),
        ({"delimiter": "\\t"}, b"a\tb\n", ("a", "b")),
        ({"quote": "'"}, b"'a,b',\"c\n", ("a,b", '"c')),
        ({"quote": ""}, b'"a,b"\n', ('"a', 'b"')),
        ({"escape": "\\"}, b'"a\\"b","c\\\\","d\\e"\n', ('a"b', "c\\", "d\\e")),
        ({"encoding": "ISO-8859-1"}, b"\xe4,b\n", ("ä", "b")),
        ({"encoding": "UTF-16LE"}, "ä,b\n".encode("utf-16-le"), ("ä", "b")),
        ({"encoding": "UTF-16"}, "ä,b\n".encode("utf-16-be"), ("ä", "b")),
        ({"encoding": "UTF-16"}, "\ufeffä,b\n".encode("utf-16-le"), ("ä", "b")),
        ({"header": True, "multiline": False}, b"a,b\n", ("a", "b")),
        ({"line_separator": "~"}, b"~ ~a,b\nc~1,2~", ("a", "b\nc")),
        ({"line_separator": "~"}, b'"a~b",c|d~1,2~', ("a~b", "c|d")),
        ({"lineSep": "\r\n"}, b"a,b\n1,2\n", ("a", "b")),
    ],
)
def test_options_of_the_contract_are_followed(
    options: dict[str, object], data: bytes, columns: tuple[str, ...]
) -> None:
    assert head_of(data, CsvOptions.from_mapping(options)).columns == columns


@given(
    rows=st.lists(
        st.lists(st.text(st.sampled_from('ab,"\n\r ~'), min_size=1, max_size=5), min_size=1, max_size=3), max_size=4
    ),
    end=st.sampled_from(["\n", "\r\n", "~"]),
)
def test_records_that_python_wrote_come_back(rows: list[list[str]], end: str) -> None:
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator=end).writerows(rows)
    options = CsvOptions.from_mapping({"line_separator": end})
    assert list(csv_records(written.getvalue(), options)) == rows
    assert list(csv_records(written.getvalue().removesuffix(end), options)) == rows


def test_records_end_where_a_quote_is_not_closed() -> None:
    options = CsvOptions.from_mapping({"line_separator": "~"})
    assert list(csv_records('a,b~~c~"d', options)) == [["a", "b"], ["c"]]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"quote": "''"}, "format.options.quote"),
        ({"quote": "“"}, "format.options.quote"),
        ({"comment": "§"}, "format.options.comment"),
        ({"line_separator": "|~"}, "format.options.line_separator is '|~': in CSV it is one character"),
        ({"line_separator": "ÿ"}, "format.options.line_separator"),
        ({"line_separator": "|", "delimiter": "||"}, "another option has the same character"),
        ({"line_separator": "\t", "delimiter": "\\t"}, "another option has the same character"),
        ({"delimiter": '"|"'}, "the quote '\"' is in it"),
        ({"escape": "ab"}, "format.options.escape"),
        ({"delimiter": 1}, "format.options.delimiter"),
        ({"encoding": "utf-9"}, "format.options.encoding"),
    ],
)
def test_an_option_that_can_not_be_is_named(options: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CsvOptions.from_mapping(options)


@pytest.mark.parametrize(
    ("text", "codec", "told"),
    [("ä,b\n1,2", "utf-16", "UTF-16"), ("ä,b\n", "utf-32", "UTF-32"), ("ä,b\n", "utf-8-sig", "UTF-8")],
)
def test_a_byte_order_mark_tells_the_encoding(text: str, codec: str, told: str) -> None:
    head = head_of(text.encode(codec))
    assert (head.columns, head.encoding) == (("ä", "b"), told)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"a,\xe4\n", r"byte 2 \(0xe4\) is not UTF-8: set format.options.encoding"),
        ("a,b\n1,2\n".encode("utf-16-le"), "looks like UTF-16 without a byte order mark"),
        (b"a,b\n\0\0\1\2", "byte 4 is NUL: it is a binary file"),
        (b"PAR1\x15\x04\x15\0", "NUL"),
        (gzip.compress(b"a,b\n", mtime=0), "it is gzip-compressed, which its name does not say"),
        (bz2.compress(b"a,b\n"), "it is bzip2-compressed"),
        (lzma.compress(b"a,b\n"), "it is xz-compressed"),
        (b"\x28\xb5\x2f\xfd1234", "it is zstd-compressed"),
        (b"PK\x03\x04\x14", "it is a zip archive"),
        (b'"a,b\n1,2\n', "quote that is never closed"),
    ],
)
def test_what_is_not_text_of_the_encoding_is_refused(data: bytes, says: str) -> None:
    head = head_of(data)
    assert head.problem is not None
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(head.problem)
    assert head.columns == ()


def test_columns_with_the_same_name_are_reported() -> None:
    assert head_of(b"a,,A,b, \n").duplicates == ("a", "A")


def looked(path: Path) -> Look | FileFailure:
    (found,) = Csv({}).look([(str(path), path.stat().st_size if path.exists() else 0)], None)
    return found


def columns_of(path: Path) -> tuple[str, ...]:
    found = looked(path)
    assert isinstance(found, Look), found
    return found.columns


def problem_of(path: Path) -> str:
    found = looked(path)
    assert isinstance(found, FileFailure)
    return found.message


def test_a_character_cut_in_two_by_the_end_of_the_head_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,bc\n" + "ä".encode() * 100_000)
    assert columns_of(path) == ("a", "bc")


def test_a_header_longer_than_the_first_look_is_read_whole(tmp_path: Path) -> None:
    columns = tuple(f"column_{number:05}" for number in range(20_000))
    path = tmp_path / "wide.csv"
    path.write_text(",".join(columns) + "\n1")
    assert columns_of(path) == columns
    path.write_bytes(b'"' + b"x" * 2_000_000)
    assert "longer than 1 MiB" in problem_of(path)


@pytest.mark.parametrize(("name", "compress"), [("a.csv.gz", gzip.compress), ("a.csv.bz2", bz2.compress)])
def test_compressed_files_are_looked_into(name: str, compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(compress(b"a,b\n" + b"1,2\n" * 50_000))
    assert columns_of(path) == ("a", "b")
    path.write_bytes(compress(b"a,b\n1,2\n")[:-5])
    assert "cut short" in problem_of(path)
    path.write_bytes(b"a,b\n1,2\n")
    assert "damaged" in problem_of(path)


def test_a_compression_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd")
    assert "zstd-compressed" in problem_of(path)


def test_a_file_that_is_gone_says_so(tmp_path: Path) -> None:
    assert problem_of(tmp_path / "gone.csv") == "it vanished after it was listed; when it is back, retry the run"


def test_of_large_files_fewer_are_read_before_spark_begins(tmp_path: Path) -> None:
    contents = [*(["a,b\n1,x\n"] * 7), 'a,b\n1,"x\ny"\n']
    paths = [tmp_path / f"{at}.csv" for at in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_text(content)
    known = T.StructType([T.StructField("a", T.LongType()), T.StructField("b", T.StringType())])
    # The last one is not read as the others are: of small files it is among the sample, of large ones only the first.
    assert Csv({}).guess([(str(path), 10) for path in paths], known) is None
    guessed = Csv({}).guess([(str(path), 50 * 2**20) for path in paths], known)
    assert guessed is not None
    assert [look.path for look in guessed] == [str(path) for path in paths]


def test_streams_of_bzip2_may_end_anywhere(tmp_path: Path) -> None:
    known = T.StructType([T.StructField(name, T.LongType()) for name in "abc"])
    path = tmp_path / "a.csv.bz2"
    path.write_bytes(bz2.compress(b"a,b") + bz2.compress(b",c\n1,2,3\n"))
    look = looked(path)
    assert isinstance(look, Look)
    assert look.columns == ("a", "b", "c")
    assert Csv({}).absent(NO_SPARK, [(str(path), 100)], known) == set()

    lines = tmp_path / "a.json.bz2"
    for first, second, good in (
        (b'{"a":0}\n{"a":1', b"1}\n", True),
        (b'{"a":1}', b'{"a":2}\n', False),
        (b'{"a":0}\n{"a":1}', b'{"a":2}\n{"a":3}\n', False),
    ):
        lines.write_bytes(bz2.compress(first) + bz2.compress(second))
        (found,) = Json({}).look([(str(lines), 100)], known)
        assert isinstance(found, Look) == good, found
