"""What an ingestion would cost: from the bytes that are there, the cluster's price, the schedule, and its own runs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from autoloader_sdk import Client
from autoloader_sdk._http.asgi import LoopThread, PlainASGI
from autoloader_sdk.models import Schedule
from autoloader_server.db.tables import runs
from autoloader_server.embedded import BASE_URL, EmbeddedService, open_service
from autoloader_server.services.costs import DAYS_PER_MONTH, runs_per_month

PATH = "/api/v1/ingestions"
PER_HOUR = 0.5 * 2 * 8
Body = dict[str, Any]


@pytest.fixture
def priced(tmp_path: Path) -> Iterator[EmbeddedService]:
    """A service with a cluster that has a price."""
    cluster = {"id": "big", "url": "sc://spark.example", "dbu_rate": 0.5, "workers": 8, "dbu_per_worker": 2}
    opened = open_service(tmp_path / "priced", clusters=[cluster])
    yield opened
    opened.close()


@pytest.fixture
def http(priced: EmbeddedService) -> Iterator[httpx.Client]:
    thread = LoopThread()
    with httpx.Client(transport=PlainASGI(priced.app, thread), base_url=BASE_URL, timeout=30) as client:
        yield client
    thread.stop()


def estimate(http: httpx.Client, body: Body, **fields: Any) -> Body:
    answer = http.post(f"{PATH}/estimate-cost", json=body | {"cluster_id": "big"} | fields)
    assert answer.status_code == 200, answer.text
    told: Body = answer.json()
    return told


def test_each_figure_follows_from_the_terms_that_are_shown(http: httpx.Client, body: Body, folder: Path) -> None:
    for name in "abc":
        (folder / f"{name}.csv").write_bytes(b"a\n" + b"1\n" * 50_000)
    (folder / "_hidden.csv").write_text("a\n1\n")
    told = estimate(http, body, schedule={"frequency": "daily"})
    terms = told["breakdown_details"]
    assert (terms["files_at_source"], terms["bytes_at_source"]) == (3, 300_006)
    assert terms["usd_per_hour"] == pytest.approx(PER_HOUR)
    assert terms["runs_per_month"] == pytest.approx(DAYS_PER_MONTH)
    assert terms["bytes_per_run"] == pytest.approx(300_006 / DAYS_PER_MONTH)
    assert "assumed" in terms["pace_basis"]
    assert terms["seconds_per_run"] == pytest.approx(
        terms["seconds_beside_reading"] + terms["bytes_per_run"] / terms["bytes_per_second"]
    )
    assert told["compute_per_run"] == pytest.approx(PER_HOUR * terms["seconds_per_run"] / 3600)
    assert told["compute_monthly"] == pytest.approx(told["compute_per_run"] * DAYS_PER_MONTH)
    assert told["storage_monthly"] == pytest.approx(300_006 / 1e9 * 0.023)
    assert told["discovery_monthly"] == 0, "local files are listed for nothing"
    assert told["total_monthly"] == pytest.approx(told["compute_monthly"] + told["storage_monthly"])
    assert set(terms["formulas"]) >= {"compute_per_run", "compute_monthly", "storage_monthly", "total_monthly"}


def test_files_from_long_ago_are_stored_and_not_loaded_each_month(http: httpx.Client, body: Body, folder: Path) -> None:
    (folder / "old.csv").write_bytes(b"1\n" * 1000)
    long_ago = time.time() - 100 * 86_400
    os.utime(folder / "old.csv", (long_ago, long_ago))
    (folder / "new.csv").write_bytes(b"1\n" * 500)
    terms = estimate(http, body, schedule={"frequency": "hourly"})["breakdown_details"]
    assert (terms["bytes_at_source"], terms["bytes_last_30_days"]) == (3000, 1000)
    assert terms["stored_gb"] == pytest.approx(3000 / 1e9)
    assert terms["first_load_usd"] == pytest.approx(PER_HOUR * terms["first_load_seconds"] / 3600)


def test_its_own_runs_tell_the_pace_and_what_the_table_grows_by(
    http: httpx.Client, priced: EmbeddedService, body: Body, folder: Path
) -> None:
    (folder / "a.csv").write_bytes(b"1\n" * 5_000_000)
    made = http.post(PATH, json=body | {"cluster_id": "big"}).json()["id"]
    moment = datetime.now().astimezone()
    with priced.service.database.write() as connection:
        for read, seconds in ((1_000_000, 10), (50_000_000, 60)):
            row = {"id": f"r{read}", "ingestion_id": made, "status": "success", "trigger": "manual"}
            row |= {"bytes_read": read, "bytes_written": read // 4, "created_at": moment}
            row |= {"started_at": moment, "ended_at": moment + timedelta(seconds=seconds)}
            connection.execute(runs.insert().values(row))
    told = estimate(http, body)
    terms = told["breakdown_details"]
    assert (terms["ingestion_id"], terms["pace_basis"], terms["past_runs"]) == (made, "its own runs", 2)
    assert terms["bytes_per_second"] == pytest.approx(1_000_000)
    assert terms["seconds_per_run"] == pytest.approx(20)
    assert told["storage_monthly"] == pytest.approx(10_000_000 / 4 / 1e9 * 0.023)
    assert estimate(http, body, format={"type": "json"})["breakdown_details"]["ingestion_id"] is None


def test_the_local_cluster_costs_nothing_and_nothing_is_saved(
    http: httpx.Client, priced: EmbeddedService, body: Body, folder: Path
) -> None:
    (folder / "a.csv").write_text("a\n1\n")
    told = estimate(http, body, cluster_id="local", schedule={"frequency": "daily"})
    assert told["total_monthly"] == 0
    assert told["breakdown_details"]["bytes_at_source"] == 4
    assert http.get(PATH).json() == []
    assert not priced.service.spark.started


def test_what_cannot_be_estimated_is_422_by_name(http: httpx.Client, body: Body, folder: Path) -> None:
    folder.rmdir()
    gone = http.post(f"{PATH}/estimate-cost", json=body)
    assert gone.status_code == 422
    assert gone.json()["detail"][0]["loc"] == ["body", "source", "path"]
    assert str(folder) in gone.json()["detail"][0]["msg"]
    misspelt = http.post(f"{PATH}/estimate-cost", json=body | {"shedule": {}})
    assert misspelt.status_code == 422
    assert "schedule" in misspelt.json()["detail"][0]["msg"]


@pytest.mark.parametrize(
    ("schedule", "times"),
    [
        ({}, 0),
        ({"frequency": "hourly"}, 24 * DAYS_PER_MONTH),
        ({"frequency": "daily", "time": "02:30"}, DAYS_PER_MONTH),
        ({"frequency": "weekly"}, DAYS_PER_MONTH / 7),
        ({"frequency": "custom", "cron_expression": "* * * * *"}, 24 * 60 * DAYS_PER_MONTH),
        ({"frequency": "custom", "cron_expression": "0 6 1 * *"}, 1),
        ({"frequency": "custom", "cron_expression": "0 0 31 2 *"}, 0),
    ],
)
def test_a_schedule_is_counted(schedule: Body, times: float) -> None:
    assert runs_per_month(Schedule.model_validate(schedule)) == pytest.approx(times, rel=0.01)


def test_the_sdk_asks_in_the_words_of_create(tmp_path: Path, folder: Path) -> None:
    (folder / "a.csv").write_text("a\n1\n")
    with Client.local(tmp_path / "home") as client:
        told = client.ingestions.estimate_cost(source=folder, format="csv", destination="bronze.t", schedule="daily")
    assert told.breakdown_details["files_at_source"] == 1
