"""Files are looked into while Spark stages them: what is found then counts as if it had been found before."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from pydantic import ByteSize
from sqlalchemy import select
from tests.integration.conftest import Ingest
from tests.integration.ingesting import Ingestion

from autoloader_server.db.tables import batches
from autoloader_server.service import Service

FILES = 40
# None of the sample that is looked into first: eight of the 40, evenly from the first to the last.
HIDDEN = "f19"


def line(**record: object) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"


def orders(at: int, rows: int = 50) -> str:
    return "".join(line(id=at * 1000 + row, city="Köln", paid=True) for row in range(rows))


@pytest.fixture
def json_table(ingest: Ingest, service: Service) -> Ingestion:
    """A table that is there, and an ingestion that looks beside the staging, however small the batch."""
    service.settings.check_beside_bytes = ByteSize(0)
    given = ingest("json", {"first.json": orders(0)})
    assert given.load().status == "success"
    return given


def burned(given: Ingestion) -> list[str]:
    """Why each of the ingestion's batches was burned."""
    with given.service.database.read() as connection:
        found = select(batches.c.reason).where(batches.c.ingestion_id == given.id, batches.c.status == "BURNED")
        return list(connection.execute(found).scalars())


def arrive(given: Ingestion, hidden: str | bytes, suffix: str = ".json", make: Callable[[int], str] = orders) -> None:
    given.write({f"f{at:02}{suffix}": make(at + 1) for at in range(FILES)} | {f"{HIDDEN}{suffix}": hidden})


def test_files_that_are_as_the_sample_says_are_loaded_in_one_batch(json_table: Ingestion) -> None:
    arrive(json_table, orders(20))
    ran = json_table.load()
    assert (ran.status, ran.files, ran.records) == ("success", FILES, FILES * 50)
    assert burned(json_table) == []
    assert len(set(json_table.values("id"))) == (FILES + 1) * 50


def test_a_new_column_in_a_file_beyond_the_sample_becomes_one(json_table: Ingestion) -> None:
    arrive(json_table, orders(20, 49) + line(id=20_049, city="Bonn", paid=False, note="new"))
    ran = json_table.load()
    assert (ran.status, ran.files, ran.records) == ("success", FILES, FILES * 50)
    assert [note for note in json_table.values("note") if note is not None] == ["new"]
    assert len(burned(json_table)) == 1
    assert [one.affected_files for one in json_table.versions()] == [[json_table.at(f"{HIDDEN}.json")]]


@pytest.mark.parametrize(
    ("content", "category", "message"),
    [
        (orders(20).encode("latin-1"), "data_malformed", "is not UTF-8"),
        (orders(20) + '{"id": 1} {"id": 2}\n', "data_malformed", "holds something after its JSON value"),
        (orders(20) + line(id="none", city="Bonn", paid=True), "data_malformed", "1 of its 51 records do not fit"),
        (orders(20) + line(ID=5), "schema_mismatch", "differs from a column only in case"),
    ],
)
def test_a_bad_file_beyond_the_sample_fails_alone(
    json_table: Ingestion, content: str | bytes, category: str, message: str
) -> None:
    arrive(json_table, content)
    ran = json_table.load()
    assert (ran.status, ran.files, ran.records) == ("partial", FILES - 1, (FILES - 1) * 50)
    (failed,) = ran.errors
    assert (failed.file, failed.category) == (f"{HIDDEN}.json", category)
    assert message in failed.message
    assert len(set(json_table.values("id"))) == FILES * 50
    assert json_table.counts() == {"first.json": 50} | {
        f"f{at:02}.json": 50 for at in range(FILES) if f"f{at:02}" != HIDDEN
    }


def test_a_file_in_another_layout_than_the_sample_is_read_right(json_table: Ingestion) -> None:
    arrive(json_table, json.dumps([{"id": 20_000 + row, "city": "Ulm", "paid": True} for row in range(50)], indent=1))
    ran = json_table.load()
    assert (ran.status, ran.files, ran.records) == ("success", FILES, FILES * 50)
    assert len(set(json_table.values("id"))) == (FILES + 1) * 50


def test_lines_within_quotes_beyond_the_sample_are_read_right(ingest: Ingest, service: Service) -> None:
    service.settings.check_beside_bytes = ByteSize(0)
    given = ingest("csv", {"first.csv": "id,text\n0,a\n"})
    assert given.load().status == "success"
    arrive(given, 'text,id\n"one\ntwo",20\n', ".csv", lambda at: f"id,text\n{at},b\n")
    ran = given.load()
    assert (ran.status, ran.files, ran.records) == ("success", FILES, FILES)
    assert sorted(given.rows("id", "text"))[20] == (20, "one\ntwo")
    assert given.values("id") == sorted(range(FILES + 1), key=str)


def test_headers_of_their_own_are_read_without_a_round_in_vain(ingest: Ingest, service: Service) -> None:
    service.settings.check_beside_bytes = ByteSize(0)
    given = ingest("csv", {"first.csv": "id,text\n0,a\n"})
    assert given.load().status == "success"
    arrive(given, "text,id\nb,20\n", ".csv", lambda at: f"id,text\n{at},b\n")
    assert given.load().status == "success"
    assert burned(given) == []
    assert sorted(given.rows("id", "text"))[20] == (20, "b")


def test_columns_that_are_ignored_are_told_of_also_beyond_the_sample(ingest: Ingest, service: Service) -> None:
    service.settings.check_beside_bytes = ByteSize(0)
    given = ingest("json", {"first.json": orders(0)}, on_schema_change="ignore")
    assert given.load().status == "success"
    arrive(given, orders(20, 49) + line(id=20_049, note="lost"))
    ran = given.load()
    assert (ran.status, ran.records) == ("success", FILES * 50)
    assert any("1 column was ignored" in note and "note" in note for note in ran.notes)
