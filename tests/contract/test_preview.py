"""`POST /ingestions/test` as far as it needs no Spark; the rest is in the integration tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from autoloader_sdk.discovery.entries import Entry
from autoloader_server.engine.formats.base import SAMPLE_FILES
from autoloader_server.engine.preview import SAMPLE_BYTES, Sample
from autoloader_server.service import Service

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
    assert told["warnings"] == ["there are no files at the source"]
    assert http.get(PATH).json() == []
    assert not service.spark.started


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
