"""Our SDK against a service that knows nothing more than the contract's older half."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from autoloader_sdk import AsyncClient, Client, NotFound, RunFailed, WaitTimeout

ID = "ing_0123456789ab"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class OlderService:
    """Answers one receipt, then one run after the other; a run is unknown as long as there is None."""

    def __init__(self, receipt: dict[str, Any], *runs: dict[str, Any] | None) -> None:
        self.receipt = receipt
        self.runs: Iterator[dict[str, Any] | None] = iter(runs)
        self.paths: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v1")
        self.paths.append(f"{request.method} {path}")
        if request.method == "POST":
            return httpx.Response(202, json=self.receipt, headers={"Date": format_datetime(NOW, usegmt=True)})
        if path == f"/ingestions/{ID}":
            return httpx.Response(200, json={"id": ID, "name": "f"})
        run = next(self.runs)
        if path.endswith("/runs"):
            return httpx.Response(200, json=[] if run is None else [run])
        return httpx.Response(404, json={"detail": "not found"}) if run is None else httpx.Response(200, json=run)

    def client(self) -> Client:
        return Client("http://127.0.0.1:9", transport=httpx.MockTransport(self))


def run(status: str, **more: Any) -> dict[str, Any]:
    started = (NOW + timedelta(seconds=1)).replace(tzinfo=None).isoformat()
    return {"id": "r1", "ingestion_id": ID, "status": status, "started_at": started, "errors": None, **more}


@pytest.mark.parametrize("end", ["success", "completed", "partial"])
def test_a_run_of_the_first_generation_is_waited_for(end: str) -> None:
    service = OlderService({"run_id": "r1", "status": "accepted"}, None, None, run("running"), run("running"), run(end))
    seen: list[str] = []
    started = service.client().ingestions.get(ID).run()
    assert (started.id, started.status, started.done) == ("r1", "accepted", False)
    waited = started.wait(poll=0, on_update=lambda each: seen.append(each.status), progress=False)
    assert waited is started
    assert waited.done
    assert seen == ["accepted", "running", end]
    assert waited.ok == (end != "partial")


def test_a_run_through_prefect_is_found_among_the_runs_since_then() -> None:
    earlier = {**run("success"), "id": "r0", "started_at": (NOW - timedelta(minutes=5)).isoformat()}
    receipt = {"status": "triggered", "method": "prefect", "flow_run_id": "flow", "message": "on its way"}
    service = OlderService(receipt, None, earlier, run("running"), run("success"))
    started = service.client().ingestions.get(ID).run()
    assert (started.id, started.data.flow_run_id) == ("", "flow")
    assert "not known yet" in str(started)
    assert started.wait(poll=0).id == "r1"


def test_a_run_that_was_completed_at_once_is_got() -> None:
    service = OlderService({"status": "completed", "method": "direct", "run_id": "r1", "message": ""}, run("success"))
    assert service.client().ingestions.get(ID).run().wait().ok


def test_a_retry_without_a_run_id_is_found() -> None:
    receipt = {"status": "retry_scheduled", "original_run_id": "r0"}
    again = {**run("success"), "id": "r2"}
    original = {**run("partial"), "id": "r0"}
    service = OlderService(receipt, original, original, again)
    first = service.client().runs.get(ID, "r0")
    assert first.retry().wait(poll=0).id == "r2"
    assert f"POST /ingestions/{ID}/runs/r0/retry" in service.paths


def test_a_failed_run_is_an_error_that_has_the_run_and_tells_each_file() -> None:
    errors = [{"file": "a.csv", "error_type": "data_malformed", "message": "line 3:\n a quote is open"}]
    failed = run("failed", errors=errors, metrics={"error_count": 1})
    service = OlderService({"run_id": "r1", "status": "accepted"}, failed, failed)
    with pytest.raises(RunFailed, match=r"a\.csv: line 3: a quote is open") as raised:
        service.client().ingestions.get(ID).run().wait()
    assert raised.value.run.errors[0].file == "a.csv"
    assert service.client().ingestions.get(ID).run().wait(check=False).status == "failed"


def test_waiting_ends_and_the_run_goes_on() -> None:
    service = OlderService({"run_id": "r1", "status": "accepted"}, *[run("running")] * 3)
    with pytest.raises(WaitTimeout, match="goes on") as raised:
        service.client().ingestions.get(ID).run().wait(timeout=0)
    assert isinstance(raised.value, TimeoutError)
    assert raised.value.run.status == "running"


def test_a_status_of_a_later_service_is_waited_through() -> None:
    service = OlderService({"run_id": "r1", "status": "accepted"}, run("compacting"), run("success"))
    assert service.client().ingestions.get(ID).run().wait(poll=0).ok


def test_a_run_that_was_there_and_is_gone_is_not_found() -> None:
    service = OlderService({"run_id": "r1", "status": "accepted"}, run("running"), None)
    with pytest.raises(NotFound):
        service.client().ingestions.get(ID).run().wait(poll=0)


def test_following_gives_each_change_once() -> None:
    states = [run("running"), run("running"), run("running", metrics={"files_processed": 3}), run("success")]
    service = OlderService({"run_id": "r1", "status": "accepted"}, *states)
    started = service.client().ingestions.get(ID).run()
    followed = [(each.kind, each.run.status, each.files) for each in started.follow(poll=0)]
    assert followed == [("status", "running", 0), ("progress", "running", 3), ("status", "success", 0)]


def test_the_asynchronous_client_waits_for_the_same_run() -> None:
    service = OlderService({"run_id": "r1", "status": "accepted"}, None, run("running"), run("success"))

    async def status() -> str:
        async with AsyncClient("http://127.0.0.1:9", transport=httpx.MockTransport(service)) as client:
            started = await (await client.ingestions.get(ID)).run()
            return (await started.wait(poll=0)).status

    assert asyncio.run(status()) == "success"


def test_ctrl_c_while_waiting_leaves_the_run_and_says_how_to_find_it(capsys: pytest.CaptureFixture[str]) -> None:
    def until_ctrl_c() -> Iterator[dict[str, Any]]:
        yield run("running")
        raise KeyboardInterrupt

    service = OlderService({"run_id": "r1", "status": "accepted"})
    service.runs = until_ctrl_c()
    started = service.client().ingestions.get(ID).run()
    with pytest.raises(KeyboardInterrupt):
        started.wait(poll=0, progress=False)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"run r1 goes on; client.runs.get('{ID}', 'r1').wait() waits for it again, .cancel() ends it"
    assert not [path for path in service.paths if "cancel" in path]


def test_so_does_a_cancellation_which_asyncio_makes_of_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    async def until_cancelled() -> None:
        service = OlderService({"run_id": "r1", "status": "accepted"}, *[run("running")] * 100)
        async with AsyncClient("http://127.0.0.1:9", transport=httpx.MockTransport(service)) as client:
            started = await (await client.ingestions.get(ID)).run()
            seen = asyncio.Event()
            waited = started.wait(poll=10, progress=False, on_update=lambda _: seen.set())
            waiting = asyncio.create_task(waited)
            await seen.wait()
            waiting.cancel()
            await waiting

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(until_cancelled())
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"run r1 goes on; client.runs.get('{ID}', 'r1').wait() waits for it again")


def test_batches_are_counted_and_failures_and_warnings_are_events_of_their_own() -> None:
    bad = {"file": "b.csv", "error_type": "data_malformed", "message": "half of it"}
    states = [
        run("running", step="loading", metrics={"batches": 1, "files_processed": 2}),
        run("running", step="loading", metrics={"batches": 1, "files_processed": 2}, errors=[bad]),
        run("partial", metrics={"batches": 3, "files_processed": 4}, errors=[bad], warnings=["held: 1 file"]),
    ]
    service = OlderService({"run_id": "r1", "status": "accepted"}, *states)
    events = list(service.client().ingestions.get(ID).run().follow(poll=0))
    assert [(event.kind, event.batches, event.files, event.file) for event in events] == [
        ("status", 0, 0, None),
        ("step", 0, 0, None),
        ("progress", 1, 2, None),
        ("failure", 0, 0, "b.csv"),
        ("progress", 2, 2, None),
        ("warning", 0, 0, None),
        ("status", 0, 0, None),
    ]
    assert [str(event) for event in events if event.kind in ("failure", "warning")] == [
        "failure: b.csv: half of it",
        "warning: held: 1 file",
    ]


def test_the_bytes_of_all_events_are_those_of_the_run() -> None:
    metrics = [{"bytes_read": 5}, {"bytes_read": 9, "files_processed": 1}, {"bytes_read": 12, "files_processed": 1}]
    states = [run("running", metrics=each) for each in metrics]
    service = OlderService({"run_id": "r1", "status": "accepted"}, *states, run("success", metrics=metrics[-1]))
    events = list(service.client().ingestions.get(ID).run().follow(poll=0))
    assert sum(event.bytes for event in events) == 12
    assert sum(event.files for event in events) == 1
