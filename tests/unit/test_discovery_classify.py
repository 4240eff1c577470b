"""Which files are not data, and the words that say why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoloader_sdk.discovery.classify import skip_reason
from autoloader_sdk.discovery.escape import spark_path


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("a.csv", None),
        ("dt=1/a_b.csv", None),
        ("x._y/a", None),
        ("_year=2026/a.csv", None),
        ("a/_part=1.csv", None),
        ("_x.csv", "hidden file"),
        ("d/.x.csv", "hidden file"),
        ("d/.k=v", "hidden file"),
        ("d/./a.csv", None),
        ("d/../a.csv", None),
        ("d/..", None),
        ("d/...", "hidden file"),
        ("d/..x/a.csv", "hidden folder ..x"),
        ("_temporary/0/a.csv", "hidden folder _temporary"),
        ("d/.spark-staging/k=v/a.csv", "hidden folder .spark-staging"),
        ("d/_SUCCESS", "job marker _SUCCESS"),
        ("d/.part-0.csv.crc", "checksum file"),
        ("a.csv._COPYING_", "upload under way"),
        ("d/", "folder marker"),
        ("_metadata", "hidden file"),
        ("_a\nb", "hidden file"),
    ],
)
def test_hidden_files_are_those_that_spark_reads_as_nothing(path: str, reason: str | None) -> None:
    assert skip_reason(path, 1) == reason


def test_an_empty_file_is_skipped() -> None:
    assert skip_reason("a.csv", 0) == "empty file"


def test_old_files_are_skipped_by_both_rules() -> None:
    assert skip_reason("a", 1, 10, modified_after_ns=9) is None
    assert skip_reason("a", 1, 9, modified_after_ns=9) == "not modified after source.modified_after"
    assert skip_reason("a", 1, 10, existing_until_ns=9) is None
    assert "include_existing" in (skip_reason("a", 1, 9, existing_until_ns=9) or "")


@given(st.text())
def test_an_escaped_path_has_no_bare_glob_character_and_can_be_read_back(path: str) -> None:
    escaped = spark_path(path)
    back, at = "", 0
    while at < len(escaped):
        if escaped[at] == "\\":
            at += 1
            assert escaped[at] in "{}[]*?\\,"
        else:
            assert escaped[at] not in "{}[]*?\\,"
        back += escaped[at]
        at += 1
    assert back == path


def test_spaces_percent_signs_and_letters_stay_as_they_are() -> None:
    assert spark_path("/a b/%20#ü[1]{a}") == "/a b/%20#ü\\[1\\]\\{a\\}"
