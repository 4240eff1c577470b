"""Why a file is in the table, or is not: one sentence for each state, from the ledger or from the source."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from autoloader_sdk.models import FileStatus
from autoloader_server.db.tables import batches, ingestions, processed_files
from autoloader_server.engine import ledger
from autoloader_server.service import Service

API = "/api/v1"
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
AT = "2026-01-02 03:04:05 UTC"
TABLE = "table-1"
Why = Callable[..., tuple[bool, str]]


@pytest.fixture
def why(http: httpx.Client, ingestion: str) -> Why:
    def ask(path: str | Path) -> tuple[bool, str]:
        answer = http.get(f"{API}/ingestions/{ingestion}/files/why", params={"path": str(path)})
        assert answer.status_code == 200, answer.text
        return answer.json()["in_table"], answer.json()["sentence"]

    return ask


@pytest.fixture
def known(service: Service, ingestion: str, folder: Path) -> Callable[..., None]:
    """Writes a version of the file `a.csv` into the ledger; landed ones are in the ingestion's table."""
    with service.database.write() as connection:
        connection.execute(update(ingestions).values(table_uuid=TABLE))
        row: dict[str, Any] = {"ingestion_id": ingestion, "run_id": "r", "generation": 0, "status": "LANDED"}
        row |= {"files": 1, "bytes": 1, "table_name": "t", "base_snapshot_id": 1, "created_at": MOMENT}
        connection.execute(
            batches.insert(), [row | {"id": "b1", "table_uuid": TABLE}, row | {"id": "b0", "table_uuid": "gone"}]
        )

    def add(status: str, **values: Any) -> None:
        row = {"ingestion_id": ingestion, "path": str(folder / "a.csv"), "identity": "1", "size": 7, "status": status}
        row |= {"first_seen_at": MOMENT, "run_id": "run-7"} | values
        with service.database.write() as connection:
            connection.execute(processed_files.insert().values(row))

    return add


LOADED = {"batch_id": "b1", "loaded_at": MOMENT}


@pytest.mark.parametrize(
    ("status", "values", "in_table", "sentence"),
    [
        (
            FileStatus.SUCCESS,
            {**LOADED, "records": 1234},
            True,
            f"1,234 rows are in {{table}}, loaded on {AT} by run run-7",
        ),
        (FileStatus.SUCCESS, {**LOADED, "records": 1}, True, f"1 row is in {{table}}, loaded on {AT} by run run-7"),
        (FileStatus.SUCCESS, LOADED, True, f"its rows are in {{table}}, loaded on {AT} by run run-7"),
        (
            FileStatus.SUCCESS,
            {**LOADED, "records": 3, "bad_records": 2},
            True,
            f"3 rows are in {{table}}, loaded on {AT} by run run-7; 2 bad records were rescued or set aside",
        ),
        (
            FileStatus.SUCCESS,
            {**LOADED, "records": 0},
            True,
            f"it holds no records, so none is in {{table}}, loaded on {AT} by run run-7",
        ),
        (
            FileStatus.SUCCESS,
            {**LOADED, "batch_id": "b0"},
            False,
            f"it was loaded on {AT} into a table that is gone since",
        ),
        (FileStatus.DISCOVERED, {}, False, f"it waits since {AT}: the next run loads it"),
        (
            FileStatus.PROCESSING,
            {"batch_id": "b1"},
            False,
            "run run-7 loads it in batch b1, or died while it did: then the next run finishes that",
        ),
        (
            FileStatus.FAILED,
            {"attempts": 1, "reason": "cut off"},
            False,
            "it failed (once): cut off; it is not tried again before it has another content, or run run-7 is retried",
        ),
        (
            FileStatus.FAILED,
            {"attempts": 2, "retryable": True, "next_attempt_at": MOMENT, "reason": "it may not be read"},
            False,
            f"it failed (2 times): it may not be read; the next run after {AT} tries it again",
        ),
        (
            FileStatus.FAILED,
            {"attempts": 5, "retryable": True, "next_attempt_at": MOMENT, "reason": "it vanished"},
            False,
            "it failed (5 times): it vanished; after 5 times it is not tried again by itself: retry run run-7",
        ),
        (FileStatus.FAILED, {"reason": "the path has a colon"}, False, "it cannot be loaded: the path has a colon"),
        (FileStatus.SKIPPED, {"reason": "hidden file"}, False, "it is skipped: hidden file"),
        (FileStatus.SKIPPED, {"reason": ledger.LOADED_BEFORE}, False, f"it is skipped: {ledger.LOADED_BEFORE}"),
        (FileStatus.HELD, {"reason": "it changed"}, False, "it is held back: it changed"),
        (
            FileStatus.HELD,
            {"batch_id": "b1", "reason": "held: too few rows"},
            False,
            "it is held: too few rows: release or drop batch b1",
        ),
    ],
)
def test_each_state_has_a_sentence(
    http: httpx.Client,
    ingestion: str,
    why: Why,
    known: Callable[..., None],
    folder: Path,
    status: str,
    values: dict[str, Any],
    in_table: bool,
    sentence: str,
) -> None:
    known(status, **values)
    to = http.get(f"{API}/ingestions/{ingestion}").json()["destination"]
    table = f"{to['catalog']}.{to['database']}.{to['table']}"
    for path in (folder / "a.csv", "a.csv", f"file://{folder}/a.csv"):
        found, said = why(path)
        assert said == sentence.replace("{table}", table)
        assert found == in_table


def test_of_several_versions_the_newest_counts_and_the_older_rows_are_told_of(
    why: Why, known: Callable[..., None]
) -> None:
    known(FileStatus.SUCCESS, **LOADED, current=False, identity="1")
    known(FileStatus.HELD, reason="it changed after it was loaded", ordinal=2, identity="2")
    assert why("a.csv") == (
        True,
        "it is held back: it changed after it was loaded; the rows of an earlier version are in the table",
    )
    known(FileStatus.SKIPPED, reason=ledger.LOADED_BEFORE, ordinal=3, identity="1")
    assert why("a.csv") == (True, f"its rows are in the table: {ledger.LOADED_BEFORE}")


def test_of_a_file_that_the_ledger_does_not_know_the_source_tells(
    http: httpx.Client, service: Service, ingestion: str, why: Why, folder: Path
) -> None:
    (folder / "deep").mkdir()
    for name in ("new.csv", "_hidden.csv", "other.txt", "a:b.csv", "deep/new.csv"):
        (folder / name).write_text("a\n1\n")
    (folder / "empty.csv").write_text("")
    waits = (False, "it is at the source, and no run has looked yet: the next run loads it")
    for name in ("new.csv", "./new.csv", "deep//new.csv", "deep/../new.csv", f"{folder}/new.csv"):
        assert why(name) == waits
    assert why("_hidden.csv") == (False, "it is at the source, and is not loaded: hidden file")
    assert why("empty.csv") == (False, "it is at the source, and is not loaded: empty file")
    assert why("a:b.csv")[1].startswith("it is at the source, and cannot be loaded: the path has a colon")
    missing = (False, "there is no such file at the source, and the ledger knows of none")
    assert why("gone.csv") == why("new.csv/a") == missing
    assert (
        why("deep")[1] == "the ledger does not know it, and it is no file that could be loaded: it is no regular file"
    )
    outside = (False, f"it is not below the source {folder}: this ingestion never looks there")
    for name in ("/elsewhere/a.csv", "../../../../../../../../etc/passwd", f"{folder}-b/a.csv"):
        assert why(name) == outside
    http.put(f"{API}/ingestions/{ingestion}", json={"source": {"file_pattern": "*.csv"}})
    assert why("other.txt") == (False, "the pattern '*.csv' does not match 'other.txt'")
    http.post(f"{API}/ingestions/{ingestion}/pause")
    with service.database.write() as connection:
        connection.execute(update(ingestions).values(last_run_at=MOMENT))
    looked = f"it is at the source, and no run has looked since {AT}"
    assert why("new.csv")[1] == f"{looked}: the ingestion is paused, and once it is resumed the next run loads it"
    with service.database.write() as connection:
        connection.execute(update(ingestions).values(status="error"))
    assert "the ingestion needs repair" in why("new.csv")[1]


def test_a_source_that_is_one_file_is_called_by_its_name(
    http: httpx.Client, body: dict[str, Any], folder: Path
) -> None:
    (folder / "a.csv").write_text("a\n1\n")
    source = {"type": "local", "path": str(folder / "a.csv")}
    ingestion = http.post(f"{API}/ingestions", json=body | {"source": source}).json()["id"]
    answer = http.get(f"{API}/ingestions/{ingestion}/files/why", params={"path": "a.csv"}).json()
    assert (answer["path"], answer["sentence"].endswith("the next run loads it")) == (str(folder / "a.csv"), True)


@pytest.mark.parametrize("path", ["file://elsewhere/a", "a\0b", "/a\0b"])
def test_what_is_no_path_is_told(http: httpx.Client, ingestion: str, path: str) -> None:
    answer = http.get(f"{API}/ingestions/{ingestion}/files/why", params={"path": path})
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"][0]["loc"] == ["query", "path"]


def test_a_source_that_is_on_s3_may_be_named_in_other_ways(
    http: httpx.Client, service: Service, body: dict[str, Any]
) -> None:
    source = {"type": "s3", "path": "s3a://bucket/in/"}
    ingestion = http.post(f"{API}/ingestions", json=body | {"source": source}).json()["id"]
    with service.database.write() as connection:
        row = {"ingestion_id": ingestion, "path": "s3://bucket/in/a b.csv", "identity": "1", "size": 7}
        connection.execute(processed_files.insert().values(row | {"status": "DISCOVERED", "first_seen_at": MOMENT}))
    for path in ("a b.csv", "s3://bucket/in/a b.csv", "s3a://bucket/in/a b.csv", "s3n://bucket/in/a b.csv"):
        answer = http.get(f"{API}/ingestions/{ingestion}/files/why", params={"path": path}).json()
        assert answer["path"] == "s3://bucket/in/a b.csv"
        assert answer["sentence"] == f"it waits since {AT}: the next run loads it"
        assert (answer["versions"], answer["file"]["status"]) == (1, "DISCOVERED")


def test_no_path_and_no_ingestion_are_told(http: httpx.Client, ingestion: str) -> None:
    assert http.get(f"{API}/ingestions/{ingestion}/files/why").status_code == 422
    assert http.get(f"{API}/ingestions/{ingestion}/files/why", params={"path": ""}).status_code == 422
    assert http.get(f"{API}/ingestions/ing_000000000000/files/why", params={"path": "a"}).status_code == 404
