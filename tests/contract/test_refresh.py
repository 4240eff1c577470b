"""Refreshes: what is refused, what a dry run tells, and how a step that fails is told. None needs Spark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from autoloader_sdk._http.asgi import LoopThread, PlainASGI
from autoloader_server.db.tables import ingestions, processed_files, runs
from autoloader_server.embedded import BASE_URL, EmbeddedService, open_service
from autoloader_server.service import Service

PATH = "/api/v1/ingestions"
MODES = ("full", "new-only")
STEPS = {
    "full": ["table_dropped", "processed_files_cleared", "run_triggered"],
    "new-only": ["table_dropped", "run_triggered"],
}
ALWAYS = {
    "status",
    "message",
    "ingestion_id",
    "run_id",
    "timestamp",
    "mode",
    "operations",
    "impact",
    "warnings",
    "notes",
}
Body = dict[str, Any]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(ingestion: str, mode: str) -> str:
    return f"{PATH}/{ingestion}/refresh/{mode}"


@pytest.fixture
def away(tmp_path: Path) -> Iterator[EmbeddedService]:
    """A service with a cluster that cannot be reached."""
    cluster = {"id": "away", "url": "sc://spark.example", "token": "env:A_VARIABLE_THAT_IS_NOT_SET"}
    opened = open_service(tmp_path / "away", clusters=[cluster])
    yield opened
    opened.close()


def add_files(service: Service, ingestion: str, folder: Path, **states: str) -> None:
    """Files of 10 bytes, each in the ledger as it is, in a state."""
    for name, status in states.items():
        file = folder / f"{name}.csv"
        file.write_text("a\n1\n2\n3\n4\n")
        seen = file.stat()
        row = {
            "ingestion_id": ingestion,
            "path": str(file),
            "identity": f"{seen.st_size}-{seen.st_mtime_ns}",
            "size": seen.st_size,
            "status": status,
            "first_seen_at": datetime.now().astimezone(),
        }
        with service.database.write() as connection:
            connection.execute(processed_files.insert().values(row))


def everything(service: Service) -> list[Any]:
    with service.database.read() as connection:
        return [connection.execute(select(table)).all() for table in (ingestions, runs, processed_files)]


@pytest.mark.parametrize("sent", [None, {}, {"confirm": False}, {"dry_run": True}, {"confirm": False, "dry_run": True}])
def test_without_confirm_it_is_422_with_an_entry_that_names_it(
    http: httpx.Client, service: Service, path: str, sent: Body | None
) -> None:
    before = everything(service)
    answer = http.post(path, json=sent) if sent is not None else http.post(path)
    assert answer.status_code == 422
    assert any("confirm" in entry["loc"] for entry in answer.json()["detail"])
    assert everything(service) == before


def test_a_misspelt_field_is_422_by_name(http: httpx.Client, path: str) -> None:
    answer = http.post(path, json={"confirm": True, "dryrun": True})
    assert answer.status_code == 422
    assert "dry_run" in answer.json()["detail"][0]["msg"]


def test_an_unknown_ingestion_is_400_with_not_found(http: httpx.Client, mode: str) -> None:
    answer = http.post(f"{PATH}/ing_000000000000/refresh/{mode}", json={"confirm": True})
    assert answer.status_code == 400
    assert isinstance(answer.json()["detail"], str)
    assert "not found" in answer.json()["detail"]


def test_a_dry_run_tells_what_would_be_done_and_changes_nothing(
    http: httpx.Client, service: Service, ingestion: str, folder: Path, path: str, mode: str
) -> None:
    add_files(service, ingestion, folder, a="SUCCESS", b="SUCCESS", c="DISCOVERED")
    (folder / "d.csv").write_text("a\n1\n2\n3\n4\n")
    (folder / "_hidden.csv").write_text("a\n1\n")
    (folder / "empty.csv").touch()
    before = everything(service)
    answer = http.post(path, json={"confirm": True, "dry_run": True})
    told = answer.json()
    assert answer.status_code == 202
    assert set(told) >= ALWAYS
    assert (told["status"], told["ingestion_id"], told["run_id"]) == ("dry_run", ingestion, None)
    assert told["mode"] == mode.replace("-", "_")
    assert datetime.fromisoformat(told["timestamp"]).tzinfo is not None
    assert told["operations"] == []
    assert [step["operation"] for step in told["would_perform"]] == STEPS[mode]
    assert path in told["next_steps"]["to_proceed"]
    assert told["next_steps"]["to_cancel"]
    impact = told["impact"]
    whole = mode == "full"
    assert (impact["files_to_process"], impact["files_skipped"]) == ((4, 0) if whole else (2, 2))
    assert impact["estimated_data_size_gb"] == pytest.approx((40 if whole else 20) / 1e9, abs=1e-6)
    assert impact["estimated_cost_usd"] == 0, "the local cluster costs nothing"
    assert impact["estimated_duration_minutes"] > 0
    assert everything(service) == before
    assert not service.spark.started


def test_a_dry_run_without_auto_run_leaves_the_run_out(http: httpx.Client, path: str, mode: str) -> None:
    told = http.post(path, json={"confirm": True, "dry_run": True, "auto_run": False}).json()
    assert [step["operation"] for step in told["would_perform"]] == STEPS[mode][:-1]
    assert '"auto_run": false' in told["next_steps"]["to_proceed"]


def test_what_a_refresh_loses_is_warned_of(
    http: httpx.Client, service: Service, ingestion: str, folder: Path, going: str, body: Body
) -> None:
    other = http.post(PATH, json=body | {"name": "other"}).json()["id"]
    add_files(service, ingestion, folder, a="SUCCESS", b="SUCCESS")
    (folder / "b.csv").unlink()

    def warned(mode: str) -> str:
        sent = {"confirm": True, "dry_run": True}
        return "\n".join(http.post(f"{PATH}/{ingestion}/refresh/{mode}", json=sent).json()["warnings"])

    assert "1 files that were loaded are no longer at the source" in warned("full")
    assert "the rows of 1 files that were loaded before do not come back" in warned("new-only")
    assert "there is nothing to load" in warned("new-only")
    assert f"{other} loads into the table too" in warned("full")
    assert f"run {going} is going" in warned("full")


def test_cost_and_time_follow_the_clusters_price_and_its_own_runs(tmp_path: Path, body: Body, folder: Path) -> None:
    cluster = {"id": "big", "url": "sc://spark.example", "dbu_rate": 0.5, "workers": 8, "dbu_per_worker": 2}
    opened = open_service(tmp_path / "home", clusters=[cluster])
    thread = LoopThread()
    with httpx.Client(transport=PlainASGI(opened.app, thread), base_url=BASE_URL) as http:
        made = http.post(PATH, json=body | {"cluster_id": "big"}).json()["id"]
        (folder / "a.csv").write_bytes(b"a\n" + b"1\n" * 500_000)
        moment = datetime.now().astimezone()
        with opened.service.database.write() as connection:
            # 10 s whatever it reads, and 1 MB a second.
            for read, seconds in ((1_000, 10), (50_000_000, 60)):
                row = {"id": f"r{read}", "ingestion_id": made, "status": "success", "trigger": "manual"}
                row |= {"bytes_read": read, "started_at": moment, "ended_at": moment + timedelta(seconds=seconds)}
                connection.execute(runs.insert().values(row | {"created_at": moment}))
        told = http.post(f"{PATH}/{made}/refresh/full", json={"confirm": True, "dry_run": True}).json()
    thread.stop()
    opened.close()
    assert told["impact"]["estimated_duration_minutes"] == pytest.approx(11 / 60, abs=0.01)
    assert told["impact"]["estimated_cost_usd"] == pytest.approx(0.5 * 2 * 8 * 11 / 3600, abs=1e-4)


def test_a_paused_ingestion_is_refused_before_anything_is_dropped(
    http: httpx.Client, service: Service, ingestion: str, path: str
) -> None:
    http.post(f"{PATH}/{ingestion}/pause")
    before = everything(service)
    answer = http.post(path, json={"confirm": True})
    assert answer.status_code == 409
    assert "paused" in answer.json()["detail"]
    assert everything(service) == before
    assert http.post(path, json={"confirm": True, "dry_run": True, "auto_run": False}).status_code == 202


def test_a_source_that_cannot_be_listed_is_refused_before_anything_is_dropped(
    http: httpx.Client, service: Service, folder: Path, path: str
) -> None:
    folder.rmdir()
    before = everything(service)
    answer = http.post(path, json={"confirm": True})
    assert answer.status_code == 409
    assert str(folder) in answer.json()["detail"]
    assert everything(service) == before


def test_a_table_that_another_ingestion_loads_into_is_not_dropped(
    http: httpx.Client, service: Service, path: str, body: Body, mode: str
) -> None:
    to = body["destination"] | {"table": "ORDERS"}
    other = http.post(PATH, json=body | {"name": "other", "destination": to}).json()["id"]
    before = everything(service)
    answer = http.post(path, json={"confirm": True})
    told = answer.json()
    assert (answer.status_code, told["status"], told["run_id"]) == (202, "partial_failure", None)
    assert told["mode"] == mode.replace("-", "_")
    (step,) = told["operations"]
    assert (step["operation"], step["status"]) == ("table_dropped", "failed")
    assert step["error_code"] == "TABLE_DROP_FAILED"
    assert other in step["error"]
    assert "force=true" in step["error"]
    assert told["notes"] == ["nothing was changed"]
    assert set(told["impact"].values()) == {0}
    assert everything(service) == before
    assert not service.spark.started


def test_a_cluster_that_cannot_be_reached_is_a_partial_failure_and_changes_nothing(
    away: EmbeddedService, body: Body, mode: str
) -> None:
    thread = LoopThread()
    with httpx.Client(transport=PlainASGI(away.app, thread), base_url=BASE_URL) as http:
        made = http.post(PATH, json=body | {"cluster_id": "away"}).json()["id"]
        before = everything(away.service)
        answer = http.post(f"{PATH}/{made}/refresh/{mode}", json={"confirm": True})
        after = everything(away.service)
    thread.stop()
    told = answer.json()
    assert (answer.status_code, told["status"]) == (202, "partial_failure")
    assert [step["error_code"] for step in told["operations"]] == ["TABLE_DROP_FAILED"]
    assert "A_VARIABLE_THAT_IS_NOT_SET" in told["operations"][0]["error"]
    assert after == before


def test_the_answer_under_one_idempotency_key_is_given_again(
    http: httpx.Client, path: str, add_run: Callable[..., str]
) -> None:
    sent: Body = {"json": {"confirm": True, "dry_run": True}, "headers": {"Idempotency-Key": "k"}}
    first, second = (http.post(path, **sent) for _ in range(2))
    assert second.headers["Idempotency-Replayed"] == "true"
    assert first.json() == second.json()
