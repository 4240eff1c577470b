"""Reading text files whole: quotes, encodings, compression; and how paths are told apart in Spark's errors."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyspark.errors import AnalysisException, SparkRuntimeException

from autoloader_server.engine.errors import CONNECTIVITY, UNKNOWN, WRITE_FAILURE
from autoloader_server.engine.explain import about_files, named_paths, run_error
from autoloader_server.engine.formats.base import Look
from autoloader_server.engine.formats.text import (
    EvenQuotes,
    QuoteCheck,
    StrictDecoder,
    Unreadable,
    is_wide,
    java_name,
    pieces,
)
from autoloader_server.engine.read import plain_path

# Asked for its version alone.
SPARK: Any = SimpleNamespace(version="4.1.4")
fields = st.text(st.sampled_from('ab,"\n\r \\ü'), max_size=5)


def checked(
    data: bytes, size: int, escape: str = '"', comment: str = "", *, delimiter: str = ",", ends: str = ""
) -> QuoteCheck:
    check = QuoteCheck('"', escape, delimiter, comment, line_separator=ends)
    for start in range(0, len(data), size):
        check.check(data[start : start + size])
    check.check(b"", final=True)
    return check


@given(
    rows=st.lists(st.lists(fields, min_size=2, max_size=3), max_size=4),
    end=st.sampled_from(["\n", "\r\n"]),
    size=st.integers(1, 9),
)
def test_what_rfc_4180_allows_is_not_stray_however_it_is_cut(rows: list[list[str]], end: str, size: int) -> None:
    def written(field: str) -> str:
        doubled = field.replace('"', '""')
        return f'"{doubled}"' if set(field) & set('"\r\n,') or "a" in field else field

    lines = [",".join(map(written, row)) + end for row in rows]
    # A comment may hold anything.
    commented = "".join(f'# it is 5" wide{end}{line}' for line in lines)
    for check in (checked("".join(lines).encode(), size), checked(commented.encode(), size, comment="#")):
        assert not check.stray
        assert check.broken_lines == any("\n" in field or "\r" in field for row in rows for field in row)
        assert check.ends == ({"CRLF" if end == "\r\n" else "LF"} if rows else set())


@given(text=st.text(st.sampled_from('a,"\n\r'), max_size=20), size=st.integers(1, 9))
def test_lines_with_even_quotes_are_those_that_end_outside_of_them(text: str, size: int) -> None:
    data, even = text.encode(), EvenQuotes('"')
    found = [even.even(data[start : start + size]) for start in range(0, len(data), size)]
    assert all([*found, even.even(b"", final=True)]) == (not checked(data, size).broken_lines)


@given(text=st.text(st.sampled_from('a,"\n'), max_size=12), size=st.integers(1, 9))
@example(text='a,"b\nc,d\n', size=3)
@example(text='a,"b\nc,"d\n', size=9)
@example(text='"a"b"\n', size=1)
def test_lines_within_quotes_that_rfc_4180_does_not_allow_are_stray(text: str, size: int) -> None:
    check = checked(text.encode(), size)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error:
        valid = False
    else:
        # The reader takes a quote in the middle of a field for a letter.
        valid = not any(
            '"' in field and f'"{field.replace(chr(34), chr(34) * 2)}"' not in text for row in rows for field in row
        )
    if valid and text.count('"') % 2 == 0 and not check.stray:
        return
    if not valid and check.broken_lines:
        assert check.stray


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
@pytest.mark.parametrize(("delimiter", "ends"), [(",", "~"), ("|:", "~"), ("§", "~"), ("|:", "")])
def test_quotes_are_followed_between_other_delimiters_and_ends_of_lines(delimiter: str, ends: str, size: int) -> None:
    def lines(*rows: list[str]) -> bytes:
        return "".join(delimiter.join(row) + (ends or "\n") for row in rows).encode()

    def seen(data: bytes, comment: str = "") -> tuple[bool, bool, set[str]]:
        check = checked(data, size, comment=comment, delimiter=delimiter, ends=ends)
        return check.stray, check.broken_lines, check.ends

    usual = {"LF"} - ({"LF"} if ends else set())
    assert seen(lines(["a", '"b"'], ['"c"', "d"])) == (False, False, usual)
    broken = f'"x{ends or chr(10)}y"'
    assert seen(lines(["a", broken], [broken, "d"])) == (False, True, usual)
    assert seen(lines(["#", '5" disk'], ["a", broken]), comment="#") == (False, True, usual)
    assert seen(lines(["a", '5" disk'], ["3", '3" disk']))[:2] == (True, True)
    # One character of a delimiter of two is none.
    assert seen(lines(["1", '"a', "2"], ["x" + delimiter[-1] + '"' + delimiter[:1] + "z"]))[:2] == (
        len(delimiter) > 1,
        True,
    )
    # Where it is no end of a line LF may stand anywhere.
    assert seen(lines(["a", "b\nc"], ["d", "e"]))[:2] == (False, False)


def test_an_escape_before_a_quote_is_no_quote() -> None:
    data = b'a,b\n1,"x\\"\n2"\n3,\\\\"\n'
    assert not checked(b'a,b\n1,"x\\"y"\n', 100, "\\").stray
    assert checked(data, 100, "\\").stray
    assert [checked(b'1,"x\\"\n2"\n', size, "\\").broken_lines for size in (1, 2, 5, 100)] == [True] * 4


@given(
    text=st.text(st.characters(codec="utf-8"), max_size=20),
    size=st.integers(1, 7),
    codec=st.sampled_from(["utf-8", "utf-16-le"]),
)
def test_text_of_its_encoding_passes_however_it_is_cut(text: str, size: int, codec: str) -> None:
    data = text.encode(codec)
    decoder = StrictDecoder(codec, declared=False)
    decoded = "".join(decoder.decode(data[at : at + size]) for at in range(0, len(data), size))
    assert decoded + decoder.decode(b"", final=True) == text


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_byte_that_is_not_of_the_encoding_is_named_by_its_place(size: int) -> None:
    data = "grün ".encode() + b"\xfc and on"
    decoder = StrictDecoder("UTF-8", declared=False)
    parts = (data[at : at + size] for at in range(0, len(data), size))
    with pytest.raises(Unreadable, match=r"byte 6 \(0xfc\) is not UTF-8: set format.options.encoding, for example"):
        list(map(decoder.check, parts))


def test_a_character_that_is_cut_off_is_noticed() -> None:
    decoder = StrictDecoder("UTF-8", declared=False)
    decoder.check("ü".encode()[:1])
    with pytest.raises(Unreadable, match="byte 0"):
        decoder.decode(b"", final=True)


@pytest.mark.parametrize(
    ("python", "java"),
    [
        ("latin-1", "ISO-8859-1"),
        ("cp1252", "windows-1252"),
        ("Windows-1252", "windows-1252"),
        ("utf8", "UTF-8"),
        ("UTF-16LE", "UTF-16LE"),
        ("ascii", "US-ASCII"),
    ],
)
def test_encodings_are_named_as_java_names_them(python: str, java: str) -> None:
    assert java_name(python) == java
    assert is_wide(python) == java.startswith("UTF-16")


def test_compressed_files_are_read_to_their_end_or_refused(tmp_path: Path) -> None:
    data = b"0123456789" * 1000
    gzipped, bzipped = gzip.compress(data), bz2.compress(data)
    for name, packed, times in (
        ("a", data, 1),
        ("a.gz", gzipped * 2, 2),
        ("a.bz2", bzipped, 1),
        ("b.bz2", bzipped * 3, 3),
    ):
        (tmp_path / name).write_bytes(packed)
        for size in (1, 999, 10**6):
            found = list(pieces(str(tmp_path / name), size))
            assert b"".join(found) == data * times
            # What ends earlier is the end of the file.
            assert all(len(piece) == size for piece in found[:-1])
    bad = {
        "cut.gz": gzipped[:-4],
        "cut.bz2": bzipped[:-4],
        "begun.bz2": bzipped + bzipped[:3],
        "no.gz": data,
        "no.bz2": data,
        "after.gz": gzipped + b"and more",
        "after.bz2": bzipped + b"and more",
        "damaged.bz2": bzipped[:20] + bytes([bzipped[20] ^ 0xFF]) + bzipped[21:],
        "then.bz2": bzipped + b"X" + bzipped[1:],
        "a.xz": data,
        "a.GZ": gzipped,
        "a.BZ2": bzipped,
    }
    for name, packed in bad.items():
        (tmp_path / name).write_bytes(packed)
        with pytest.raises(Unreadable):
            list(pieces(str(tmp_path / name), 999))


AWKWARD = [
    "a b",
    "a%20b",
    "a+b",
    "#",
    "ü",
    "日本",
    "[1]",
    "{a}",
    "*",
    "?",
    "\\",
    "&;=",
    "'\"`",
    "a. b",
    "x does not exist",
]


@given(st.text(st.characters(codec="utf-8", exclude_characters=":\n\0/"), min_size=1, max_size=20))
@example("a+b %2B")
def test_a_path_comes_back_from_its_url(name: str) -> None:
    for form in (quote(f"/d/{name}"), quote(f"/d/{name}", safe="/-_.!~'()*,;:$&+=@")):
        assert plain_path(f"file://{form}") == f"/d/{name}"
        assert plain_path(f"file:{form}") == f"/d/{name}"


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("suffix", ["", ".csv"])
def test_the_path_that_an_error_names_is_found_among_all(name: str, suffix: str) -> None:
    looks = [Look(f"/d/{other}{end}", 1, None) for other in AWKWARD for end in ("", ".csv", ".csv.gz")]
    path = f"/d/{name}{suffix}"
    legal = "/-_.!~'()*,;:$&+=@"
    java = "".join(letter if not letter.isascii() else quote(letter, safe=legal) for letter in path)
    for shown in (f"file://{java}", f"file:{path}"):
        message = f"[FAILED_READ_FILE.NO_HINT] Encountered error while reading file {shown}.  SQLSTATE: KD001"
        assert named_paths(message, looks) == {path}


def test_no_path_is_found_where_none_is_named() -> None:
    assert named_paths("[UNRESOLVED_COLUMN] nothing of a file", [Look("/d/a", 1, None)]) == set()


@pytest.mark.parametrize(
    ("error", "category", "says"),
    [
        (AnalysisException("[UNRESOLVED_COLUMN] no column x"), UNKNOWN, "Spark failed"),
        (SparkRuntimeException("java.io.IOException: No space left on device"), WRITE_FAILURE, "the disk is full"),
        (SparkRuntimeException("java.lang.OutOfMemoryError: Java heap space"), WRITE_FAILURE, "out of memory"),
        (SparkRuntimeException("StatusCode.UNAVAILABLE"), CONNECTIVITY, "Spark failed"),
        (SparkRuntimeException("org.apache.iceberg.exceptions.CommitFailedException: …"), UNKNOWN, "Spark failed"),
    ],
)
def test_a_fault_of_spark_is_blamed_on_no_file(error: Exception, category: str, says: str) -> None:
    assert not about_files(error)
    stopped = run_error(error, SPARK)
    assert stopped.category == category
    assert says in str(stopped)


@pytest.mark.parametrize("error", [KeyError("FAILED_READ_FILE"), FileNotFoundError("MALFORMED_RECORD")])
def test_a_fault_of_ours_is_blamed_on_no_file_and_stays_what_it_is(error: Exception) -> None:
    assert not about_files(error)
    with pytest.raises(type(error)):
        run_error(error, SPARK)


@pytest.mark.parametrize(
    "text", ["[FAILED_READ_FILE.NO_HINT] …", "[PATH_NOT_FOUND] …", "[MALFORMED_RECORD_IN_PARSING] …", "EOFException"]
)
def test_an_error_of_what_was_read_is_about_files(text: str) -> None:
    assert about_files(SparkRuntimeException(text))
