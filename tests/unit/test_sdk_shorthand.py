"""What people write for short, and what it means."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoloader_sdk import Invalid, models, shorthand
from autoloader_sdk.spark import quoted_table


def test_a_folder_is_a_local_source_and_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert shorthand.source("data/flights/") == {"type": "local", "path": f"{tmp_path}/data/flights/"}
    assert shorthand.source(Path("data")) == {"type": "local", "path": f"{tmp_path}/data"}
    assert shorthand.source({"type": "local", "path": "data"})["path"] == f"{tmp_path}/data"
    assert shorthand.source("~/in") == {"type": "local", "path": "/home/someone/in"}
    assert shorthand.source("/") == {"type": "local", "path": "/"}
    assert shorthand.source("file:///data") == {"type": "local", "path": "file:///data"}


@pytest.mark.parametrize(
    ("given", "kind"),
    [("s3://b/x", "s3"), ("s3a://b/x", "s3"), ("gs://b", "gcs"), ("abfss://c@a.net/x", "azure_blob")],
)
def test_a_scheme_is_a_source_type(given: str, kind: str) -> None:
    assert shorthand.source(given) == {"type": kind, "path": given}


def test_an_unknown_scheme_is_refused_and_names_the_known() -> None:
    with pytest.raises(Invalid, match=r"unknown scheme 'ftp://'; known: s3, gs"):
        shorthand.source("ftp://x/y")


@pytest.mark.parametrize(
    ("given", "path", "pattern"),
    [
        ("s3://b/in/*.csv", "s3://b/in", "*.csv"),
        ("s3://b/in/*/day-?.csv", "s3://b/in", "*/day-?.csv"),
        ("/data/in/*.csv", "/data/in", "*.csv"),
        ("/*.csv", "/", "*.csv"),
    ],
)
def test_a_pattern_at_the_end_is_the_file_pattern(given: str, path: str, pattern: str) -> None:
    body = shorthand.source(given)
    assert (body["path"], body["file_pattern"]) == (path, pattern)


def test_a_pattern_alone_is_in_the_folder_that_we_are_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shorthand.source("*.csv") == {"type": "local", "path": str(tmp_path), "file_pattern": "*.csv"}


def test_a_folder_whose_name_has_a_star_is_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "is it * ?"
    folder.mkdir()
    assert shorthand.source(os.fspath(folder)) == {"type": "local", "path": str(folder)}


names = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)


@given(names, names, names)
def test_a_table_name_is_read_as_it_is_quoted(catalog: str, database: str, table: str) -> None:
    body = shorthand.destination(quoted_table(catalog, database, table))
    assert (body["catalog"], body["database"], body["table"]) == (catalog, database, table)


def test_a_catalog_and_a_table_without_a_database_are_refused() -> None:
    with pytest.raises(Invalid, match="lacks the database"):
        shorthand.destination("lake.orders")


def test_two_parts_are_in_the_default_catalog() -> None:
    expected = {"write_mode": "append", "catalog": "lake", "database": "bronze", "table": "a.b"}
    assert shorthand.destination("bronze.`a.b`") == expected


@pytest.mark.parametrize("name", ["", "flights", "a.b.c.d", "a..b", ".a.b", "a.`b", "a.b`c", "``.b"])
def test_what_is_no_table_name_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match=r"catalog\.database\.table"):
        shorthand.destination(name)


@pytest.mark.parametrize(
    ("given", "body"),
    [
        (None, {}),
        ({}, {}),
        ("daily", {"frequency": "daily"}),
        ("30 2 * * *", {"frequency": "custom", "cron_expression": "30 2 * * *", "timezone": "UTC"}),
        (models.Schedule(frequency="weekly", time="01:00"), {"frequency": "weekly", "time": "01:00"}),
    ],
)
def test_a_schedule_for_short(given: Any, body: dict[str, Any]) -> None:
    assert shorthand.schedule(given) == body
    models.Schedule.model_validate(body)


def test_a_source_whose_rules_are_given_needs_no_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"path": "data/*.csv", "on_changed_file": "replace"}
    assert shorthand.source(given) == {
        "type": "local",
        "path": str(tmp_path / "data"),
        "file_pattern": "*.csv",
        "on_changed_file": "replace",
    }
    assert given["path"] == "data/*.csv"
    assert shorthand.source({"path": "s3://b/x/"})["type"] == "s3"
