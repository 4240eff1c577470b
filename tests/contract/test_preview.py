"""`POST /ingestions/test` and `…/preview` as far as they need no Spark; the rest is in the integration tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, select, update

from autoloader_sdk.discovery.entries import Entry
from autoloader_sdk.discovery.store import LocalStore
from autoloader_server.db.clock import now
from autoloader_server.db.tables import batches, ingestions, processed_files
from autoloader_server.engine.formats.base import SAMPLE_FILES
from autoloader_server.engine.ledger import listed
from autoloader_server.engine.preview import SAMPLE_BYTES, Sample
from autoloader_server.service import Service
from autoloader_server.settings import ClusterSettings

PATH = "/api/v1/ingestions"
Body = dict[str, Any]


def test_an_empty_source_is_told_without_spark(http: httpx.Client, service: Service, body: Body, folder: Path) -> None:
    (folder / "_hidden.csv").write_text("a\n1\n")
    answer = http.post(f"{PATH}/test", json=body)
    told = answer.json()
    assert answer.status_code == 200
    assert {name: told[name] for name in ("schema", "sample_data", "file_count", "estimated_records")} == {
        "schema": [],
        "sample_data": [],
        "file_count": 0,
        "estimated_records": 0,
    }
    assert told["warnings"] == ["nothing at the source would be loaded"]
    assert told["plan"]["parts"] == [{"action": "skip", "reason": "hidden file", "files": 1, "bytes": 4}]
    (folder / "_hidden.csv").unlink()
    assert http.post(f"{PATH}/test", json=body).json()["warnings"] == ["there are no files at the source"]
    assert http.get(PATH).json() == []
    assert not service.spark.started


def test_a_preview_without_a_sample_is_the_plan_alone(
    http: httpx.Client, service: Service, ingestion: str, folder: Path
) -> None:
    for name, text in (("a.csv", "a\n1\n"), ("b.csv", "a\n2\n"), ("c.csv", ""), ("_SUCCESS", "x")):
        (folder / name).write_text(text)
    told = http.post(f"{PATH}/{ingestion}/preview", params={"sample": "false"}).json()
    assert (told["file_count"], told["estimated_records"], told["schema"], told["warnings"]) == (2, None, [], [])
    plan = told["plan"]
    assert {name: plan[name] for name in ("load", "load_bytes", "skip", "hold", "fail", "truncated")} == {
        "load": 2,
        "load_bytes": 8,
        "skip": 2,
        "hold": 0,
        "fail": 0,
        "truncated": False,
    }
    parts = {(each["action"], each["reason"]): (each["files"], each["bytes"]) for each in plan["parts"]}
    assert parts == {
        ("load", "new"): (2, 8),
        ("skip", "empty file"): (1, 0),
        ("skip", "job marker _SUCCESS"): (1, 1),
    }
    files = [(Path(each["path"]).name, each["action"]) for each in plan["files"]]
    assert sorted(files) == [("_SUCCESS", "skip"), ("a.csv", "load"), ("b.csv", "load"), ("c.csv", "skip")]
    assert not service.spark.started
    assert http.get(f"{PATH}/{ingestion}/files").json() == [], "nothing is written"


def test_so_many_files_of_each_action_are_shown_and_all_are_counted(
    http: httpx.Client, ingestion: str, folder: Path
) -> None:
    for number in range(5):
        (folder / f"{number}.csv").write_text("a\n1\n")
        (folder / f"_{number}.csv").write_text("a\n1\n")
    asked = {"sample": "false", "files": "2"}
    plan = http.post(f"{PATH}/{ingestion}/preview", params=asked).json()["plan"]
    assert (plan["load"], plan["skip"], plan["truncated"]) == (5, 5, True)
    assert [each["action"] for each in plan["files"]] == ["load", "load", "skip", "skip"]


def test_nothing_to_load_is_told_without_spark(
    http: httpx.Client, service: Service, ingestion: str, folder: Path
) -> None:
    (folder / "_hidden.csv").write_text("a\n1\n")
    told = http.post(f"{PATH}/{ingestion}/preview").json()
    assert (told["file_count"], told["plan"]["skip"]) == (0, 1)
    assert told["warnings"] == ["nothing at the source would be loaded"]
    assert not service.spark.started


@pytest.mark.parametrize("kept", ["", "deleted", "elsewhere", "refreshed"])
def test_what_another_ingestion_has_loaded_into_the_table_is_left_to_it(
    http: httpx.Client,
    service: Service,
    ingestion: str,
    body: Body,
    folder: Path,
    kept: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also of one that is deleted, and whose table stayed; not of one elsewhere, or of a table that went."""
    (folder / "a.csv").write_text("a\n1\n")
    entry = LocalStore(str(folder)).stat(str(folder / "a.csv"))
    row = {"id": "b", "ingestion_id": ingestion, "run_id": "r", "generation": 0, "status": "LANDED", "files": 1}
    row |= {"bytes": 1, "table_name": "t", "table_uuid": "t-1", "base_snapshot_id": 1, "created_at": now()}
    with service.database.write() as connection:
        connection.execute(insert(batches).values(row))
        loaded = {"ingestion_id": ingestion, "ordinal": 1, "status": "SUCCESS", "batch_id": "b", **listed(entry)}
        connection.execute(insert(processed_files).values(loaded))
        connection.execute(update(ingestions).values(table_uuid="t-1"))
    if kept == "deleted":
        assert http.delete(f"{PATH}/{ingestion}").status_code in (200, 204)
    if kept == "elsewhere":
        with service.database.write() as connection:
            spec = connection.execute(select(ingestions.c.spec)).scalar_one()
            changed = spec | {"cluster_id": "big"}
            connection.execute(update(ingestions).values(spec=changed, cluster_id="big"))
        big = ClusterSettings.model_validate({"id": "big", "name": "big", "url": "sc://spark.example.org:15002"})
        monkeypatch.setattr(service, "settings", service.settings.model_copy(update={"clusters": [big]}))
    other = http.post(PATH, json=body | {"name": "another"}).json()["id"]
    if kept == "refreshed":
        # The other one has loaded into that table, too, and has dropped it since.
        with service.database.write() as connection:
            connection.execute(insert(batches).values(row | {"id": "c", "ingestion_id": other}))
    new = kept in ("elsewhere", "refreshed")
    for asked, sent in ((f"{PATH}/{other}/preview", None), (f"{PATH}/test", body)):
        if sent is not None and kept == "refreshed":
            continue
        plan = http.post(asked, params={"sample": "false"}, json=sent).json()["plan"]
        ((part),) = plan["parts"]
        expected = ("load", "new") if new else ("skip", "left to another ingestion")
        assert (part["action"], part["reason"]) == expected


def test_a_preview_of_a_paused_ingestion_says_so(http: httpx.Client, ingestion: str) -> None:
    http.post(f"{PATH}/{ingestion}/pause")
    told = http.post(f"{PATH}/{ingestion}/preview").json()
    assert "the ingestion is paused" in told["warnings"][0]


def test_a_preview_of_what_is_not_there_is_404_or_422(http: httpx.Client, ingestion: str, folder: Path) -> None:
    assert http.post(f"{PATH}/ing_000000000000/preview").status_code == 404
    assert http.post(f"{PATH}/ing_000000000000/estimate-cost").status_code == 404
    folder.rmdir()
    for call in ("preview", "estimate-cost"):
        answer = http.post(f"{PATH}/{ingestion}/{call}")
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"] == ["body", "source", "path"]


def test_what_came_after_an_ingestion_was_made_is_priced_where_only_that_is_loaded(
    http: httpx.Client, body: Body, folder: Path
) -> None:
    body["source"]["include_existing"] = False
    made = http.post(PATH, json=body).json()["id"]
    (folder / "a.csv").write_text("a\n1\n")
    there = http.post(f"{PATH}/{made}/estimate-cost").json()
    assert there["breakdown_details"]["bytes_at_source"] == 4


def test_one_that_is_there_costs_what_one_like_it_would(
    http: httpx.Client, ingestion: str, body: Body, folder: Path
) -> None:
    (folder / "a.csv").write_text("a\n1\n")
    there = http.post(f"{PATH}/{ingestion}/estimate-cost").json()
    assert there == http.post(f"{PATH}/estimate-cost", json=body).json()
    assert there["breakdown_details"]["ingestion_id"] == ingestion


@pytest.mark.parametrize(("field", "value"), [("shedule", {}), ("format", {"type": "arvo"}), ("source", None)])
def test_what_could_not_be_made_is_422(http: httpx.Client, body: Body, field: str, value: Any) -> None:
    sent = {**body, field: value} if value is not None else {key: body[key] for key in body if key != field}
    answer = http.post(f"{PATH}/test", json=sent)
    assert answer.status_code == 422
    assert answer.json()["detail"]


@pytest.mark.parametrize("call", ["test", "estimate-cost"])
@pytest.mark.parametrize(
    ("loc", "change"),
    [
        (["body", "source", "file_pattern"], {"source": {"file_pattern": "{a,b.csv"}}),
        (["body", "on_bad_record"], {"format": {"type": "parquet"}, "on_bad_record": "rescue"}),
    ],
)
def test_what_no_run_could_do_anything_with_is_422_too(
    http: httpx.Client, body: Body, call: str, loc: list[str], change: Body
) -> None:
    sent = {**body, **change, "source": body["source"] | change.get("source", {})}
    answer = http.post(f"{PATH}/{call}", json=sent)
    assert answer.status_code == 422, answer.text
    assert [fault["loc"] for fault in answer.json()["detail"]] == [loc]


def test_a_source_that_is_not_there_is_422_by_name(http: httpx.Client, body: Body, folder: Path) -> None:
    folder.rmdir()
    answer = http.post(f"{PATH}/test", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "source", "path"]


@pytest.mark.parametrize("listed", [1, 19, 20, 79, 80, 81, 100_000])
def test_a_sample_is_spread_over_the_listing_and_small(listed: int) -> None:
    sample = Sample()
    for at in range(listed):
        sample.take(Entry(f"{at:06}", 10, 0))
    paths = [path for path, _ in sample.files()]
    assert len(paths) == min(listed, SAMPLE_FILES)
    assert paths == sorted(set(paths))
    assert int(paths[-1]) >= listed * 0.7 - 1


def test_a_sample_has_one_large_file_and_not_many() -> None:
    sample = Sample()
    for at in range(5):
        sample.take(Entry(str(at), SAMPLE_BYTES, 0))
    assert sample.files() == [("0", SAMPLE_BYTES)]
