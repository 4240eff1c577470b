"""What a user does, by the SDK alone: embedded, and over HTTP against `autoloader serve`, on the same Spark."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.chaos.waiting import until
from tests.parts import sparks

from autoloader_sdk import Client, RunFailed
from autoloader_sdk.errors import Conflict

DEADLINE = 60.0


@pytest.fixture(params=["embedded", "served"])
def client(request: pytest.FixtureRequest, home: Path, tmp_path: Path) -> Iterator[Client]:
    """A client of a service with a ledger of its own."""
    database = f"sqlite:///{tmp_path}/autoloader.db"
    if request.param == "embedded":
        with Client.local(home, database_url=database) as embedded:
            yield embedded
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "AUTOLOADER_HOME": str(home), "AUTOLOADER_DATABASE_URL": database}
    command = [str(Path(sys.executable).with_name("autoloader")), "serve", "--port", str(port)]
    process = subprocess.Popen(command, env=environment)
    try:
        base = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + DEADLINE
        while not _answers(base):
            assert process.poll() is None, "the service ended by itself"
            assert time.monotonic() < deadline, "the service does not answer"
        with Client(base) as remote:
            yield remote
    finally:
        process.terminate()
        # Uvicorn shuts down in good order, and then ends by the signal that it was given.
        assert process.wait(DEADLINE) in {0, -signal.SIGTERM}


@contextmanager
def spark_asleep(home: Path) -> Iterator[None]:
    """Spark is stopped in this block (SIGSTOP): a run that needs it cannot end. Nobody waits for ever: see DEADLINE."""
    server = psutil.Process(int((home / "spark" / "pid").read_text()))
    waking = threading.Timer(DEADLINE, server.resume)
    server.suspend()
    waking.start()
    try:
        yield
    finally:
        waking.cancel()
        server.resume()


def _answers(base: str) -> bool:
    try:
        return httpx.get(f"{base}/health", timeout=1).status_code == 200
    except httpx.TransportError:
        time.sleep(0.05)
        return False


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    folder = tmp_path / "orders"
    folder.mkdir()
    for day in range(3):
        (folder / f"2026-01-0{day + 1}.csv").write_text(f"id,amount\n{day}1,1.5\n{day}2,2.5\n")
    return folder


def test_files_become_a_table_and_only_new_ones_are_loaded_again(client: Client, orders: Path, namespace: str) -> None:
    ingestion = client.ingestions.create(
        name="orders", source=orders, format="csv", destination=f"lake.{namespace}.orders"
    )
    assert ingestion.status == "draft"
    run = ingestion.run()
    run.wait()
    assert (run.status, run.metrics.files_processed, run.metrics.records_ingested) == ("success", 3, 6)
    assert run.metrics.bytes_read == sum(path.stat().st_size for path in orders.iterdir())
    assert (run.metrics.bytes_written or 0) > 0
    assert run.started_at is not None
    assert run.ended_at is not None
    assert ingestion.reload().status == "active"
    nothing = ingestion.run()
    nothing.wait()
    assert (nothing.status, nothing.metrics.files_processed) == ("success", 0)
    assert (run.data.spark_job_id, nothing.data.spark_job_id) == (f"autoloader-{run.id}", None)
    assert (nothing.metrics.bytes_read, nothing.metrics.bytes_written) == (0, 0)
    assert "nothing new" in str(nothing)
    (orders / "late.csv").write_text("id,amount\n99,9\n")
    late = ingestion.run()
    late.wait()
    assert (late.metrics.files_processed, late.metrics.records_ingested) == (1, 1)
    assert late.metrics.bytes_read == (orders / "late.csv").stat().st_size
    assert {file.path: file.status for file in ingestion.files()} == {str(path): "SUCCESS" for path in orders.iterdir()}
    assert [each.id for each in ingestion.runs()] == [late.id, nothing.id, run.id]


def test_a_bad_file_fails_alone_and_is_named_and_retry_tries_it_again(
    client: Client, orders: Path, namespace: str
) -> None:
    bad = orders / "bad.csv"
    bad.write_text("id,amount\n7,1,too,many\n")
    ingestion = client.ingestions.create(
        name="orders", source=orders, format="csv", destination=f"lake.{namespace}.orders"
    )
    run = ingestion.run()
    run.wait()
    assert run.status == "partial"
    assert [error.file for error in run.errors] == [str(bad)]
    assert str(bad) in str(run)
    [failed] = ingestion.files(status="FAILED")
    assert failed.reason
    again = run.retry()
    with pytest.raises(RunFailed) as raised:
        again.wait()
    assert raised.value.run.metrics.records_ingested == 0
    assert str(bad) in str(raised.value)


def test_two_runs_asked_for_at_once_load_each_file_once(client: Client, orders: Path, namespace: str) -> None:
    ingestion = client.ingestions.create(
        name="orders", source=orders, format="csv", destination=f"lake.{namespace}.orders"
    )
    asked = [ingestion.run() for _ in range(3)]
    for run in asked:
        run.wait()
    assert len({run.id for run in asked}) <= 2, "at most one waits behind the one that is going"
    assert sum(run.metrics.records_ingested or 0 for run in {run.id: run for run in asked}.values()) == 6


def test_the_service_answers_while_a_run_works_and_when_that_is_cancelled_the_next_one_does_its_work(
    client: Client, orders: Path, namespace: str, home: Path
) -> None:
    for number in range(300):
        (orders / f"more-{number}.csv").write_text("id,amount\n1,1\n")
    ingestion = client.ingestions.create(
        name="orders", source=orders, format="csv", destination=f"lake.{namespace}.orders"
    )
    run = ingestion.run()
    until(lambda: run.reload().data.step == "loading", "the run loads", DEADLINE)
    with spark_asleep(home):
        health = client.health()
        assert (health.status, health.active_runs, health.spark) == ("healthy", 1, "running")
        assert [(each.name, each.status) for each in client.ingestions] == [("orders", "draft")]
        assert {file.status for file in ingestion.files()} == {"PROCESSING"}
        run.cancel()
        assert (run.status, run.ended_at) == ("running", None), "it had ended before all that was answered"
        # The worker looks once a second whether it is to stop, and it is awake.
        asked = time.monotonic()
        until(lambda: time.monotonic() > asked + 1.5, "the worker has looked")
    run.wait(check=False)
    assert (run.status, run.metrics.records_ingested) == ("cancelled", 0)
    assert run.message == "cancelled; what had not been published is not in the table"
    rest = ingestion.run()
    rest.wait()
    assert (rest.metrics.files_processed, rest.metrics.records_ingested) == (303, 306)


def test_the_same_name_twice_is_a_conflict_that_says_what_to_do(client: Client, orders: Path, namespace: str) -> None:
    wanted: dict[str, Any] = {"source": orders, "format": "csv", "destination": f"lake.{namespace}.orders"}
    first = client.ingestions.create(name="orders", **wanted)
    with pytest.raises(Conflict, match="orders"):
        client.ingestions.create(name="orders", **wanted)
    assert client.ingestions.create(name="orders", exist_ok=True, **wanted).id == first.id


def test_deleting_with_the_table_drops_it_and_keeps_the_history(
    client: Client, orders: Path, namespace: str, lake: object
) -> None:
    ingestion = client.ingestions.create(
        name="orders", source=orders, format="csv", destination=f"lake.{namespace}.orders"
    )
    run = ingestion.run()
    run.wait()
    ingestion.delete(delete_table=True)
    assert [each.name for each in client.ingestions] == []
    assert client.runs.get(ingestion.id, run.id).status == "success"
    tables = lake.session().sql(f"SHOW TABLES IN lake.`{namespace}`").collect()  # type: ignore[attr-defined]
    assert tables == []


def test_after_a_deletion_with_the_table_the_same_files_load_into_a_new_one(
    client: Client, orders: Path, namespace: str
) -> None:
    wanted: dict[str, Any] = {
        "name": "orders",
        "source": orders,
        "format": "csv",
        "destination": f"lake.{namespace}.orders",
    }
    first = client.ingestions.create(**wanted)
    first.run().wait()
    first.delete(delete_table=True)
    again = client.ingestions.create(**wanted).run()
    again.wait()
    assert (again.metrics.files_processed, again.metrics.records_ingested) == (3, 6)


def test_after_a_deletion_that_keeps_the_table_its_rows_are_not_loaded_twice_and_the_run_says_so(
    client: Client, orders: Path, namespace: str
) -> None:
    wanted: dict[str, Any] = {
        "name": "orders",
        "source": orders,
        "format": "csv",
        "destination": f"lake.{namespace}.orders",
    }
    first = client.ingestions.create(**wanted)
    first.run().wait()
    first.delete()
    again = client.ingestions.create(**wanted).run()
    again.wait()
    assert again.metrics.records_ingested == 0
    assert "3 files were skipped" in str(again)


def test_clearing_loads_everything_once_more(client: Client, orders: Path, namespace: str) -> None:
    ingestion = client.ingestions.create(
        name="orders", source=orders, format="csv", destination=f"lake.{namespace}.orders"
    )
    ingestion.run().wait()
    assert ingestion.clear().files_cleared == 3
    again = ingestion.run()
    again.wait()
    assert again.metrics.files_processed == 3


def test_the_command_ends_with_what_became_of_its_run(home: Path, orders: Path, namespace: str, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/command.db"
    environment = {**os.environ, "AUTOLOADER_HOME": str(home), "AUTOLOADER_DATABASE_URL": database}

    def autoloader(*arguments: str) -> tuple[int, str]:
        command = [str(Path(sys.executable).with_name("autoloader")), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout + done.stderr

    what = ("--source", str(orders), "--format", "csv", "--to", f"lake.{namespace}.orders")
    code, said = autoloader("ingestions", "create", "orders", *what)
    assert code == 0, said
    away = orders.rename(tmp_path / "away")
    code, said = autoloader("run", "orders")
    assert (code, f"there is no file or folder '{orders}'" in said) == (1, True), said
    away.rename(orders)
    (orders / "bad.csv").write_text("id,amount\n7,1,too,many\n")
    code, said = autoloader("run", "orders")
    assert (code, str(orders / "bad.csv") in said) == (3, True), said
    code, said = autoloader("run", "orders")
    assert (code, "nothing new" in said, "failed before: 1 file" in said) == (0, True, True), said
    (orders / "bad.csv").write_text("id,amount\n7,1\n")
    code, said = autoloader("retry", "orders")
    assert (code, "1 file, 1 row" in said) == (0, True), said
    code, said = autoloader("runs", "orders", "--limit", "1", "--json")
    assert json.loads(said)["trigger"] == "retry"
    code, said = autoloader("refresh", "orders", "full", "--yes")
    assert (code, "4 files" in said) == (0, True), said


@pytest.mark.sparks(sparks.LOCAL)
def test_testing_a_cluster_really_connects(client: Client) -> None:
    [local] = [cluster for cluster in client.clusters.list() if cluster.id == "local"]
    answer = local.test_connection()
    assert re.match(r"4\.1\.", str(answer.spark_version))


def test_the_table_comes_as_a_frame_that_answers_questions(
    home: Path, orders: Path, tmp_path: Path, namespace: str
) -> None:
    from pyspark.sql import functions as F

    with Client.local(home, database_url=f"sqlite:///{tmp_path}/frames.db") as client:
        ingestion = client.ingestions.create(
            name="orders", source=orders, format="csv", destination=f"lake.{namespace}.orders"
        )
        ingestion.run().wait()
        frame = ingestion.table()
        assert frame.columns == ["id", "amount", "_source_file"]
        assert frame.agg(F.sum(F.col("amount"))).collect()[0][0] == 12.0
        assert len(frame.limit(5).toPandas()) == 5
