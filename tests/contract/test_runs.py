"""Runs: receipts, history, waiting, cancelling, retrying."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from autoloader_server.db.tables import run_errors, runs
from autoloader_server.service import Service

API = "/api/v1"
AddRun = Callable[..., str]


@pytest.fixture
def path(ingestion: str) -> str:
    return f"{API}/ingestions/{ingestion}"


def test_a_receipt_has_a_run_id_that_can_be_got_at_once(http: httpx.Client, path: str, going: str) -> None:
    answer = http.post(f"{path}/run")
    assert answer.status_code == 202
    receipt = answer.json()
    assert (receipt["status"], receipt["method"]) == ("accepted", "direct")
    assert str(uuid.UUID(receipt["run_id"])) == receipt["run_id"]
    assert going in receipt["message"]
    run = http.get(f"{path}/runs/{receipt['run_id']}").json()
    assert (run["status"], run["trigger"], run["started_at"]) == ("queued", "manual", None)


def test_at_most_one_run_waits_and_further_requests_get_its_receipt(
    http: httpx.Client, service: Service, path: str, going: str
) -> None:
    ids = {http.post(f"{path}/run").json()["run_id"] for _ in range(3)}
    assert len(ids) == 1
    assert going not in ids
    with service.database.read() as connection:
        statuses = connection.execute(select(runs.c.status).order_by(runs.c.created_at)).scalars().all()
    assert statuses == ["running", "queued"]
    service.queue.sweep()
    assert service.queue.active() == [], "it must not start while the first one goes on"


def test_a_draft_can_be_run_and_a_paused_one_only_by_force(http: httpx.Client, path: str, going: str) -> None:
    http.post(f"{path}/pause")
    refused = http.post(f"{path}/run")
    assert refused.status_code == 409
    assert "paused" in refused.json()["detail"]
    assert http.post(f"{path}/run", params={"force": True}).status_code == 202


def test_runs_of_an_unknown_ingestion_are_an_empty_list(http: httpx.Client) -> None:
    answer = http.get(f"{API}/ingestions/ing_000000000000/runs")
    assert (answer.status_code, answer.json()) == (200, [])


def test_a_run_of_another_ingestion_is_not_found(http: httpx.Client, path: str, add_run: AddRun) -> None:
    other = add_run("ing_other")
    answer = http.get(f"{path}/runs/{other}")
    assert answer.status_code == 404
    assert "not found" in answer.json()["detail"]


def test_a_finished_run_tells_everything(
    http: httpx.Client, service: Service, path: str, ingestion: str, add_run: AddRun
) -> None:
    counts = {
        "files_processed": 3,
        "records_ingested": 40,
        "bytes_read": 500,
        "bytes_written": 60,
        "error_count": 1,
    }
    run_id = add_run(ingestion, status="partial", notes=["two columns were ignored"], **counts)
    with service.database.write() as connection:
        error = {
            "file": "/d/a.csv",
            "error_type": "data_malformed",
            "message": "line 3",
            "timestamp": datetime.now(UTC),
        }
        connection.execute(run_errors.insert().values(run_id=run_id, **error))
    run = http.get(f"{path}/runs/{run_id}").json()
    assert run["id"] == run_id
    assert run["ingestion_id"] == ingestion
    assert run["status"] == "partial"
    assert {name: run["metrics"][name] for name in counts} == counts
    assert run["metrics"]["duration_seconds"] == 2.0
    assert [(each["file"], each["error_type"], each["message"]) for each in run["errors"]] == [
        ("/d/a.csv", "data_malformed", "line 3")
    ]
    assert run["warnings"] == ["two columns were ignored"]
    for moment in (run["started_at"], run["ended_at"], run["errors"][0]["timestamp"]):
        assert datetime.fromisoformat(moment).utcoffset() == timedelta(0)
    assert http.get(f"{path}/runs").json() == [run]


def test_a_run_without_errors_says_so(http: httpx.Client, path: str, ingestion: str, add_run: AddRun) -> None:
    run = http.get(f"{path}/runs/{add_run(ingestion)}").json()
    assert not run["errors"]
    assert run["spark_job_id"] is None


def test_history_is_newest_first_within_days_and_limit(
    http: httpx.Client, path: str, ingestion: str, add_run: AddRun
) -> None:
    made = [add_run(ingestion, age=timedelta(days=days)) for days in (0, 1, 2, 31, 400)]
    assert [run["id"] for run in http.get(f"{path}/runs").json()] == made[:3]
    assert [run["id"] for run in http.get(f"{path}/runs", params={"days": 1000}).json()] == made
    assert [run["id"] for run in http.get(f"{path}/runs", params={"limit": 2}).json()] == made[:2]


@pytest.mark.parametrize("params", [{"days": 0}, {"limit": 0}, {"limit": 1001}, {"days": "x"}, {"cursor": "x"}])
def test_wrong_paging_is_422(http: httpx.Client, path: str, params: dict[str, Any]) -> None:
    assert http.get(f"{path}/runs", params=params).status_code == 422


def test_following_the_link_header_shows_each_run_once(
    http: httpx.Client, path: str, ingestion: str, add_run: AddRun
) -> None:
    same_moment = datetime.now(UTC)
    made = {add_run(ingestion, created_at=same_moment) for _ in range(7)}
    seen: list[str] = []
    url = f"{path}/runs?limit=3"
    while url:
        answer = http.get(url)
        seen += [run["id"] for run in answer.json()]
        url = answer.links.get("next", {}).get("url", "")
    assert len(seen) == 7
    assert set(seen) == made


def test_retry_is_a_new_run_that_names_the_one_it_repeats(
    http: httpx.Client, path: str, ingestion: str, add_run: AddRun, going: str
) -> None:
    original = add_run(ingestion, status="partial", error_count=1)
    answer = http.post(f"{path}/runs/{original}/retry")
    assert answer.status_code == 202
    receipt = answer.json()
    assert (receipt["status"], receipt["original_run_id"]) == ("retry_scheduled", original)
    run = http.get(f"{path}/runs/{receipt['run_id']}").json()
    assert (run["trigger"], run["retry_of"]) == ("retry", original)


def test_a_run_that_goes_on_cannot_be_retried(http: httpx.Client, path: str, going: str) -> None:
    answer = http.post(f"{path}/runs/{going}/retry")
    assert answer.status_code == 409
    assert "running" in answer.json()["detail"]


def test_cancel_ends_a_waiting_run_now_and_asks_a_going_one(http: httpx.Client, path: str, going: str) -> None:
    waiting = http.post(f"{path}/run").json()["run_id"]
    ended = http.post(f"{path}/runs/{waiting}/cancel")
    assert ended.status_code == 202
    assert ended.json()["status"] == "cancelled"
    assert ended.json()["ended_at"] is not None
    asked = http.post(f"{path}/runs/{going}/cancel").json()
    assert (asked["status"], asked["cancel_requested"]) == ("running", True)


def test_cancelling_a_finished_run_changes_nothing(
    http: httpx.Client, path: str, ingestion: str, add_run: AddRun
) -> None:
    run_id = add_run(ingestion)
    before = http.get(f"{path}/runs/{run_id}").json()
    assert http.post(f"{path}/runs/{run_id}/cancel").json() == before


# With the engine. A folder without files needs no Spark.


def finished(http: httpx.Client, path: str, run_id: str) -> dict[str, Any]:
    """The run when it has ended, asked for as clients do: by polling."""
    deadline = time.monotonic() + 60
    while True:
        run: dict[str, Any] = http.get(f"{path}/runs/{run_id}").json()
        if run["status"] not in {"queued", "running"}:
            return run
        assert time.monotonic() < deadline, run


def test_a_run_over_an_empty_folder_is_a_success_with_zeros_and_says_so(
    http: httpx.Client, service: Service, path: str
) -> None:
    run = finished(http, path, http.post(f"{path}/run").json()["run_id"])
    assert run["status"] == "success"
    assert {run["metrics"][name] for name in ("files_processed", "records_ingested", "error_count")} == {0}
    assert "no files" in run["message"]
    assert run["started_at"] <= run["ended_at"]
    assert not run["errors"]
    assert not service.spark.started


def test_the_first_success_makes_a_draft_active_and_is_told_in_the_metadata(http: httpx.Client, path: str) -> None:
    run_id = finished(http, path, http.post(f"{path}/run").json()["run_id"])["id"]
    made = http.get(path).json()
    assert made["status"] == "active"
    assert made["metadata"]["last_run_id"] == run_id
    assert datetime.fromisoformat(made["metadata"]["last_run_time"]).utcoffset() == timedelta(0)


def test_a_folder_that_is_not_there_fails_the_run_and_names_it(http: httpx.Client, path: str, folder: Path) -> None:
    folder.rmdir()
    run = finished(http, path, http.post(f"{path}/run").json()["run_id"])
    assert run["status"] == "failed"
    assert str(folder) in run["message"]
    assert str(folder) in run["errors"][0]["message"]


def test_every_run_of_a_burst_ends_and_no_two_were_done_at_once(http: httpx.Client, path: str) -> None:
    ids = {http.post(f"{path}/run").json()["run_id"] for _ in range(20)}
    spans = sorted((run["started_at"], run["ended_at"]) for run in (finished(http, path, each) for each in ids))
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_a_run_waits_behind_one_of_another_process_and_then_starts(
    http: httpx.Client, service: Service, path: str, going: str
) -> None:
    waiting = http.post(f"{path}/run").json()["run_id"]
    with service.database.write() as connection:
        connection.execute(runs.update().where(runs.c.id == going).values(status="success", lease_token=None))
    assert finished(http, path, waiting)["status"] == "success"


def test_the_log_of_a_run_is_there_page_by_page(http: httpx.Client, path: str) -> None:
    run_id = http.post(f"{path}/run").json()["run_id"]
    finished(http, path, run_id)
    lines = http.get(f"{path}/runs/{run_id}/logs").json()
    assert [set(line) for line in lines] == [{"id", "timestamp", "level", "message"}] * len(lines)
    assert (lines[0]["message"], lines[-1]["level"]) == ("started (manual)", "info")
    assert lines[-1]["message"].startswith("ended: success")
    paged = []
    following: str | None = f"{path}/runs/{run_id}/logs?limit=2"
    while following is not None:
        answer = http.get(following)
        paged += answer.json()
        following = answer.links.get("next", {}).get("url")
    assert paged == lines
    assert http.get(f"{path}/runs/{run_id}/logs", params={"after": lines[0]["id"]}).json() == lines[1:]


@pytest.mark.parametrize("query", [{"after": -1}, {"limit": 0}, {"limit": 1001}, {"cursor": "x"}])
def test_a_page_of_a_log_that_cannot_be_is_refused(http: httpx.Client, path: str, query: dict[str, Any]) -> None:
    run_id = http.post(f"{path}/run").json()["run_id"]
    assert http.get(f"{path}/runs/{run_id}/logs", params=query).status_code == 422


def test_there_is_no_log_of_a_run_that_is_not_known(http: httpx.Client, path: str) -> None:
    answer = http.get(f"{path}/runs/9b2d4a52-0000-0000-0000-000000000000/logs")
    assert answer.status_code == 404
    assert "not found" in answer.json()["detail"]
