"""The flow under a real Prefect server: what it loads, how it ends on both sides, and what a retry carries on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import select, update
from tests.chaos.waiting import until
from tests.integration.conftest import Ingest
from tests.integration.ingesting import Ingestion
from tests.parts import prefect_server as part

from autoloader_server.db.tables import batches, ingestions, runs
from autoloader_server.service import Service
from autoloader_server.services import runs as run_service

ROOT = Path(__file__).parents[2]
SECONDS = 150.0
FILES = {"a.json": '{"id": 1, "n": "x"}\n{"id": 2, "n": "y"}\n', "b.json": '{"id": 3, "n": "z"}\n'}
ROWS = [(1, "x"), (2, "y"), (3, "z")]
BAD = {"bad.json": '{"id": 4, "n": '}
# What each load makes anew.
OF_ITS_OWN = {
    *("id", "ingestion_id", "trigger", "flow_run_id", "spark_job_id", "bytes_written", "lease_expires_at"),
    *("created_at", "started_at", "ended_at"),
}

Run = Callable[..., Any]


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with part.running(tmp_path_factory.mktemp("prefect")) as url:
        yield url


@pytest.fixture
def environment(prefect: str, service: Service, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the flow finds the ledger of this test; what a task waits for before it is tried again is nothing."""
    url = service.settings.database_url
    assert url is not None
    monkeypatch.setenv("AUTOLOADER_HOME", str(home))
    monkeypatch.setenv("AUTOLOADER_DATABASE_URL", url.get_secret_value())
    monkeypatch.setenv("AUTOLOADER_PREFECT_TASK_RETRY_DELAY_SECONDS", "0")


@pytest.fixture
def run_flow(environment: None) -> Iterator[Run]:
    """Runs the flow for an ingestion in this process; the state that it ends in. Options of the flow by keyword."""
    from autoloader_flows import process
    from autoloader_flows.ingestion import run_ingestion_flow

    def run(ingestion: Ingestion | str, **options: Any) -> Any:
        chosen = run_ingestion_flow.with_options(**({"retries": 0} | options))
        ingestion_id = ingestion if isinstance(ingestion, str) else ingestion.id
        return chosen(ingestion_id=ingestion_id, return_state=True)

    yield run
    assert not process.runs
    process.close()


@pytest.fixture
def start_flow(environment: None, tmp_path: Path) -> Iterator[Run]:
    """Starts the flow in a process of its own, which is killed or stopped where `at` says."""
    started: list[subprocess.Popen[str]] = []

    def start(ingestion: Ingestion, at: str) -> subprocess.Popen[str]:
        log = tmp_path / f"flow-{len(started)}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.parts.flow_worker", ingestion.id],
                cwd=ROOT,
                env={**os.environ, "AUTOLOADER_KILL_AT": at},
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def rows_of(ingestion: Ingestion, table: Any) -> list[dict[str, Any]]:
    with ingestion.service.database.read() as connection:
        query = select(table).where(table.c.ingestion_id == ingestion.id).order_by(table.c.created_at)
        return [dict(row) for row in connection.execute(query).mappings()]


def changes(ingestion: Ingestion) -> list[tuple[int, list[dict[str, Any]]]]:
    """The schema versions; of their files the names, as the folders differ."""
    return [
        (one.version, [{**each, "files": [Path(file).name for file in each["files"]]} for each in one.changes_json])
        for one in ingestion.versions()
    ]


def only_run(ingestion: Ingestion) -> dict[str, Any]:
    (row,) = rows_of(ingestion, runs)
    return row


def said(flow_run_id: str, last: str) -> str:
    """What Prefect keeps of a flow run: its logs, once they have `last` in them, its states and its tasks' states."""
    from prefect import get_client

    with get_client(sync_client=True) as client:

        def logs() -> str:
            found = client.request("POST", "/logs/filter", json={"logs": {"flow_run_id": {"any_": [flow_run_id]}}})
            text = "\n".join(each["message"] for each in found.json())
            return text if last in text else ""

        text = until(logs, f"the flow's log says {last!r}")
        states = client.request("GET", "/flow_run_states/", params={"flow_run_id": flow_run_id}).json()
        wanted = {"flow_runs": {"id": {"any_": [flow_run_id]}}}
        tasks = client.request("POST", "/task_runs/filter", json=wanted).json()
    return json.dumps([text, states, tasks])


def test_a_flow_leaves_the_same_traces_as_a_direct_run(ingest: Ingest, run_flow: Run) -> None:
    direct, flow = ingest("json", FILES), ingest("json", FILES)
    direct.load()
    state = run_flow(flow)
    assert (state.type.value, state.name) == ("COMPLETED", "Completed")
    more = {"c.json": '{"id": 4, "n": "w", "new": true}\n'}
    direct.load(more)
    flow.write(more)
    run_flow(flow)
    assert flow.rows() == direct.rows()
    assert {name: (known.status, known.records) for name, known in flow.files().items()} == {
        name: (known.status, known.records) for name, known in direct.files().items()
    }
    theirs, ours = rows_of(direct, runs), rows_of(flow, runs)
    for one, other in zip(ours, theirs, strict=True):
        assert {k: v for k, v in one.items() if k not in OF_ITS_OWN} == {
            k: v for k, v in other.items() if k not in OF_ITS_OWN
        }
        assert one["trigger"] == "scheduled"
        assert one["ended_at"] is not None
        assert one["flow_run_id"] is not None
    assert [(row["status"], row["files"], row["records"]) for row in rows_of(flow, batches)] == [
        (row["status"], row["files"], row["records"]) for row in rows_of(direct, batches)
    ]
    assert changes(flow) == changes(direct)
    nothing = run_flow(flow)
    assert nothing.type.value == "COMPLETED"
    assert nothing.result(raise_on_failure=False)["message"] == "nothing new"
    assert (rows_of(flow, runs)[-1]["status"], rows_of(flow, runs)[-1]["message"]) == ("success", "nothing new")


def test_a_bad_file_ends_the_flow_as_partial_and_a_flow_of_bad_files_as_failed(ingest: Ingest, run_flow: Run) -> None:
    some = ingest("json", FILES | BAD)
    state = run_flow(some)
    assert (state.type.value, state.name) == ("COMPLETED", "Partial")
    assert state.message == only_run(some)["message"] == "2 files loaded; 1 file could not be"
    assert only_run(some)["status"] == "partial"
    assert some.rows() == ROWS
    text = said(only_run(some)["flow_run_id"], "is partial")
    assert "bad.json" in text
    assert "3 files at the source, 3 new or changed" in text

    every = ingest("json", BAD)
    state = run_flow(every)
    assert state.type.value == "FAILED"
    assert state.message.endswith("no file was loaded; 1 file could not be")
    assert (only_run(every)["status"], only_run(every)["error_count"]) == ("failed", 1)


def test_what_cannot_be_run_ends_cancelled_and_is_not_tried_again(
    ingest: Ingest, run_flow: Run, service: Service
) -> None:
    state = run_flow("nobody", retries=1)
    assert (state.type.value, state.message) == ("CANCELLED", "ingestion nobody not found")
    paused = ingest("json", FILES)
    with service.database.write() as connection:
        connection.execute(update(ingestions).where(ingestions.c.id == paused.id).values(status="paused"))
    state = run_flow(paused, retries=1)
    assert state.type.value == "CANCELLED"
    assert "is paused" in state.message
    assert rows_of(paused, runs) == []


def test_a_retry_carries_on_the_same_run_and_no_secret_is_shown(ingest: Ingest, run_flow: Run, tmp_path: Path) -> None:
    folder = tmp_path / "in token=s3cr3tvalue"
    folder.mkdir()
    orders = ingest("json", FILES, folder=folder)
    away = folder.rename(tmp_path / "away")
    seen: list[dict[str, Any]] = []

    def comes_back(flow: Any, flow_run: Any, state: Any) -> None:
        if flow_run.run_count == 1 and rows_of(orders, runs):
            seen.append(only_run(orders))
            shutil.move(away, folder)

    state = run_flow(orders, retries=1, retry_delay_seconds=0, on_running=[comes_back])
    assert state.type.value == "COMPLETED"
    (between,) = seen
    assert (between["status"], between["step"]) == ("running", "waiting for another attempt")
    after = only_run(orders)
    assert (after["id"], after["status"], after["flow_run_id"]) == (between["id"], "success", between["flow_run_id"])
    assert after["started_at"] == between["started_at"]
    assert any("tried again after a failure" in note and "token=***" in note for note in after["notes"])
    assert orders.rows() == ROWS
    text = said(after["flow_run_id"], "is success")
    assert "token=***" in text
    assert "s3cr3tvalue" not in text


def test_a_step_that_fails_is_tried_again_and_its_batch_is_finished(
    ingest: Ingest, run_flow: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = ingest("json", FILES)
    monkeypatch.setenv("AUTOLOADER_KILL_AT", "published=error")
    state = run_flow(orders)
    assert state.type.value == "COMPLETED"
    assert only_run(orders)["status"] == "success"
    assert orders.rows() == ROWS
    assert [row["status"] for row in rows_of(orders, batches)] == ["LANDED"]


def test_a_retry_takes_up_the_batch_that_the_attempt_before_has_left(
    ingest: Ingest, run_flow: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autoloader_flows import ingestion

    orders = ingest("json", FILES)
    monkeypatch.setenv("AUTOLOADER_KILL_AT", "staged=error")
    monkeypatch.setenv("AUTOLOADER_LEASE_RENEW_SECONDS", "1")
    monkeypatch.setattr(ingestion.process_files_task, "retries", 0)
    # Longer than a renewal: the lease of the run is alive all the time, and so is that of its batch.
    state = run_flow(orders, retries=1, retry_delay_seconds=3, timeout_seconds=SECONDS)
    assert state.type.value == "COMPLETED"
    assert any("tried again after a failure" in note for note in only_run(orders)["notes"])
    assert not any("waited for the lease" in note for note in only_run(orders)["notes"])
    assert [row["status"] for row in rows_of(orders, batches)] == ["LANDED"]
    assert orders.rows() == ROWS


def test_a_flow_that_takes_too_long_is_stopped_and_its_retry_carries_on_the_same_run(
    ingest: Ingest, run_flow: Run
) -> None:
    from autoloader_flows import ingestion

    orders = ingest("json", FILES)
    seen: list[dict[str, Any]] = []

    def hangs(task: Any, task_run: Any, state: Any) -> None:
        seen.append(only_run(orders))
        time.sleep(SECONDS if len(seen) == 1 else 0)

    def takes_its_time(flow: Any, flow_run: Any, state: Any) -> None:
        flow.timeout_seconds = SECONDS if seen else 10.0

    ingestion.process_files_task.on_running_hooks.append(hangs)
    try:
        state = run_flow(orders, retries=1, retry_delay_seconds=0, timeout_seconds=10, on_running=[takes_its_time])
    finally:
        ingestion.process_files_task.on_running_hooks.remove(hangs)
    assert state.type.value == "COMPLETED"
    assert [row["id"] for row in seen] == [only_run(orders)["id"]] * 2
    assert only_run(orders)["status"] == "success"
    assert any("stopped after 10 s" in note for note in only_run(orders)["notes"])
    assert orders.rows() == ROWS


def test_a_flow_waits_for_the_run_that_is_going(ingest: Ingest, run_flow: Run, start_flow: Run) -> None:
    orders = ingest("json", FILES)
    going = start_flow(orders, "claimed=stop")
    stopped(going)
    first = only_run(orders)["id"]

    def goes_on(task: Any, task_run: Any, state: Any) -> None:
        going.send_signal(signal.SIGCONT)

    from autoloader_flows import ingestion

    ingestion.create_run_record_task.on_running_hooks.append(goes_on)
    try:
        state = run_flow(orders)
    finally:
        ingestion.create_run_record_task.on_running_hooks.remove(goes_on)
    assert going.wait(SECONDS) == 0
    assert state.type.value == "COMPLETED"
    text = said(rows_of(orders, runs)[-1]["flow_run_id"], "is success")
    assert f"waits for run {first}" in text
    assert [row["message"] for row in rows_of(orders, runs)] == [None, "nothing new"]
    assert orders.rows() == ROWS


@pytest.mark.parametrize("by", ["our service", "Prefect"])
def test_a_cancelled_flow_ends_cancelled_on_both_sides_and_the_next_run_loads_the_rest(
    ingest: Ingest, start_flow: Run, service: Service, by: str
) -> None:
    from prefect import get_client
    from prefect.states import Cancelling

    # More batches than are loaded within the second after which a cancellation is noticed at the latest.
    files = {f"{at}.json": f'{{"id": {at}, "n": "x"}}\n' for at in range(12)}
    orders = ingest("json", files, limits={"max_files_per_batch": 1})
    going = start_flow(orders, "claimed=stop")
    stopped(going)
    run = only_run(orders)
    with get_client(sync_client=True) as client:
        if by == "Prefect":
            client.set_flow_run_state(run["flow_run_id"], Cancelling(), force=True)
            going.terminate()  # as its worker does
        else:
            run_service.cancel(service, orders.id, run["id"])
        going.send_signal(signal.SIGCONT)
        going.wait(SECONDS)
        state = client.read_flow_run(run["flow_run_id"]).state
    run = only_run(orders)
    assert run["status"] == "cancelled"
    assert state is not None
    if by != "Prefect":  # there the worker, which is not there, writes the last state
        assert (state.type.value, state.message) == ("CANCELLED", run["message"])
    assert orders.load().status == "success"
    assert orders.rows() == sorted([(at, "x") for at in range(12)], key=repr)


@pytest.mark.parametrize("then", ["the next flow run", "the same flow run"])
def test_after_a_kill_the_work_is_finished_with_every_row_once(
    ingest: Ingest, run_flow: Run, start_flow: Run, then: str
) -> None:
    from prefect import get_client
    from prefect.flow_engine import run_flow as run_again
    from prefect.states import AwaitingRetry

    from autoloader_flows.ingestion import run_ingestion_flow

    orders = ingest("json", FILES)
    killed = start_flow(orders, "published")
    assert killed.wait(SECONDS) == -signal.SIGKILL
    run = only_run(orders)
    if then == "the next flow run":
        assert run_flow(orders).type.value == "COMPLETED"
        assert [row["status"] for row in rows_of(orders, runs)] == ["failed", "success"]
    else:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run["flow_run_id"], AwaitingRetry(), force=True)
            flow_run = client.read_flow_run(run["flow_run_id"])
        state: Any = run_again(
            run_ingestion_flow, flow_run=flow_run, parameters=flow_run.parameters, return_type="state"
        )
        assert state.type.value == "COMPLETED"
        assert (only_run(orders)["id"], only_run(orders)["status"]) == (run["id"], "success")
    assert orders.rows() == ROWS
    assert [row["status"] for row in rows_of(orders, batches)] == ["LANDED"]


def stopped(process: subprocess.Popen[str]) -> None:
    """Wait until the process sleeps at its point."""
    watched = psutil.Process(process.pid)

    def sleeps() -> bool:
        assert process.poll() is None, "the flow ended before its point"
        return bool(watched.status() == psutil.STATUS_STOPPED)

    until(sleeps, "the flow stops at its point", SECONDS)
