"""Batches that a quality rule holds: listed, released, dropped, and taken back by what clears or deletes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from autoloader_sdk import AsyncClient, Client, Conflict
from autoloader_sdk._http.asgi import LoopThread, PlainASGI
from autoloader_server.db.tables import batches, processed_files
from autoloader_server.embedded import BASE_URL, EmbeddedService
from autoloader_server.engine import held
from autoloader_server.service import Service

API = "/api/v1"
REASON = "a batch of 2 rows, fewer than quality.row_count_threshold (5)"
AddBatch = Callable[..., str]


@pytest.fixture
def path(ingestion: str) -> str:
    return f"{API}/ingestions/{ingestion}"


@pytest.fixture
def add_batch(service: Service, ingestion: str) -> AddBatch:
    """Writes a batch of one file, as the engine would have left it."""
    made = datetime(2026, 1, 2, tzinfo=UTC)

    def add(status: str = "HELD", *, file: str = "HELD", age: timedelta = timedelta(0), **values: Any) -> str:
        batch_id = uuid.uuid4().hex
        row = {
            "id": batch_id,
            "ingestion_id": ingestion,
            "run_id": "r",
            "generation": 0,
            "status": status,
            "reason": REASON if status == "HELD" else None,
            "attempt": 1,
            "files": 1,
            "bytes": 7,
            "records": 2,
            "table_name": "t",
            "table_uuid": "u",
            "base_snapshot_id": 1,
            "staged_snapshot_id": 2,
            "created_at": made - age,
        }
        version = {
            "ingestion_id": ingestion,
            "path": f"/d/{batch_id}.csv",
            "identity": "e",
            "size": 7,
            "status": file,
            "reason": f"held: {REASON}",
            "batch_id": batch_id,
            "first_seen_at": made,
        }
        with service.database.write() as connection:
            connection.execute(batches.insert().values(row | values))
            connection.execute(processed_files.insert().values(version))
        return batch_id

    return add


def state(service: Service, batch_id: str) -> tuple[str, str | None, str, str | None]:
    """Status and verdict of a batch, status and reason of its file."""
    with service.database.read() as connection:
        batch = connection.execute(select(batches.c.status, batches.c.verdict).where(batches.c.id == batch_id)).one()
        file = connection.execute(
            select(processed_files.c.status, processed_files.c.reason).where(processed_files.c.batch_id == batch_id)
        ).one()
    return (*batch, *file)


def test_batches_are_listed_newest_first_filtered_and_paged(http: httpx.Client, path: str, add_batch: AddBatch) -> None:
    ids = [add_batch(status, age=timedelta(days=day)) for day, status in enumerate(["HELD", "LANDED", "HELD"])]
    first = http.get(f"{path}/batches", params={"limit": 2})
    assert [each["id"] for each in first.json()] == ids[:2]
    assert [each["id"] for each in http.get(first.links["next"]["url"]).json()] == ids[2:]
    found = http.get(f"{path}/batches", params={"status": "held"}).json()
    assert [each["id"] for each in found] == [ids[0], ids[2]]
    expected = {"status": "HELD", "reason": REASON, "files": 1, "bytes": 7, "records": 2, "run_id": "r"}
    assert {name: found[0][name] for name in expected} == expected
    assert http.get(f"{path}/batches/{ids[0]}").json() == found[0]
    wrong = http.get(f"{path}/batches", params={"status": "HELDD"})
    assert wrong.status_code == 422
    assert "did you mean HELD?" in wrong.json()["detail"][0]["msg"]


@pytest.mark.usefixtures("going")
def test_a_released_batch_is_left_to_a_run_that_can_be_got_at_once(
    http: httpx.Client, service: Service, path: str, add_batch: AddBatch
) -> None:
    batch = add_batch()
    answer = http.post(f"{path}/batches/{batch}/release")
    assert answer.status_code == 202, answer.text
    receipt = answer.json()
    assert receipt["status"] == "accepted"
    assert http.get(f"{path}/runs/{receipt['run_id']}").json()["trigger"] == "release"
    assert state(service, batch) == ("OPEN", "RELEASING", "PROCESSING", None)
    again = http.post(f"{path}/batches/{batch}/release")
    assert (again.status_code, again.json()["run_id"]) == (202, receipt["run_id"]), "to say it again changes nothing"
    other = http.post(f"{path}/batches/{batch}/drop")
    assert other.status_code == 409
    assert "is not held: it is OPEN" in other.json()["detail"]


@pytest.mark.usefixtures("going")
def test_a_dropped_batch_is_taken_back_by_a_run_and_says_why(
    http: httpx.Client, service: Service, path: str, add_batch: AddBatch
) -> None:
    batch = add_batch()
    answer = http.post(f"{path}/batches/{batch}/drop")
    assert answer.status_code == 202, answer.text
    assert http.get(f"{path}/runs/{answer.json()['run_id']}").json()["trigger"] == "drop"
    reason = f"dropped by a call; it was held: {REASON}"
    assert state(service, batch) == ("BURNING", "DROPPED", "PROCESSING", reason)
    assert http.post(f"{path}/batches/{batch}/drop").status_code == 202
    assert http.post(f"{path}/batches/{batch}/release").status_code == 409


@pytest.mark.parametrize("word", ["release", "drop"])
@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        ("OPEN", "the next run loads it"),
        ("LANDED", "its rows are in the table"),
        ("BURNING", "being taken back"),
        ("BURNED", "nothing of it is in the table"),
    ],
)
def test_what_is_not_held_is_neither_released_nor_dropped(
    http: httpx.Client, service: Service, path: str, add_batch: AddBatch, word: str, status: str, meaning: str
) -> None:
    batch = add_batch(status, file="PROCESSING", verdict="PASSED", lease_token="t", lease_expires_at=1e12)
    before = state(service, batch)
    answer = http.post(f"{path}/batches/{batch}/{word}")
    assert answer.status_code == 409
    assert meaning in answer.json()["detail"]
    assert state(service, batch) == before
    assert http.get(f"{path}/runs").json() == []


@pytest.mark.parametrize("word", ["release", "drop"])
def test_a_batch_that_is_not_there_or_another_ingestions_is_not_found(
    http: httpx.Client, path: str, body: dict[str, Any], add_batch: AddBatch, word: str
) -> None:
    batch = add_batch()
    other = http.post(f"{API}/ingestions", json=body | {"name": "other"}).json()["id"]
    for wrong in (
        f"{path}/batches/none",
        f"{API}/ingestions/{other}/batches/{batch}",
        f"{API}/ingestions/ing_000000000000/batches/{batch}",
    ):
        for answer in (http.post(f"{wrong}/{word}"), http.get(wrong)):
            assert answer.status_code == 404
            assert "not found" in answer.json()["detail"]
    assert http.get(f"{API}/ingestions/ing_000000000000/batches").status_code == 404


@pytest.mark.usefixtures("going")
@pytest.mark.parametrize("word", ["release", "drop"])
def test_a_paused_ingestions_batch_is_decided_only_by_force(
    http: httpx.Client, service: Service, path: str, add_batch: AddBatch, word: str
) -> None:
    batch = add_batch()
    http.post(f"{path}/pause")
    refused = http.post(f"{path}/batches/{batch}/{word}")
    assert refused.status_code == 409
    assert "paused" in refused.json()["detail"]
    assert state(service, batch)[0] == "HELD"
    assert http.post(f"{path}/batches/{batch}/{word}", params={"force": True}).status_code == 202
    assert state(service, batch)[0] != "HELD"


@pytest.mark.usefixtures("going")
def test_a_release_that_is_sent_again_under_its_key_is_answered_again(
    http: httpx.Client, path: str, add_batch: AddBatch
) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    url = f"{path}/batches/{add_batch()}/release"
    first, second = (http.post(url, headers=key) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert second.json() == first.json()
    assert second.headers["Idempotency-Replayed"] == "true"


@pytest.mark.usefixtures("going")
def test_a_release_whose_process_died_before_it_asked_for_a_run_is_done_by_sending_it_again(
    http: httpx.Client, service: Service, path: str, add_batch: AddBatch
) -> None:
    batch = add_batch()
    with service.database.write() as connection:
        held.release(connection, batch)
    answer = http.post(f"{path}/batches/{batch}/release")
    assert answer.status_code == 202
    assert http.get(f"{path}/runs/{answer.json()['run_id']}").json()["status"] == "queued"


def test_clearing_takes_held_batches_back_and_forgets_drops(
    http: httpx.Client, service: Service, path: str, add_batch: AddBatch
) -> None:
    waiting, dropped = add_batch(), add_batch()
    with service.database.write() as connection:
        held.drop(connection, dropped, REASON)
    assert http.delete(f"{path}/processed-files").status_code == 200
    assert state(service, waiting)[:3] == ("OPEN", None, "PROCESSING")
    assert state(service, dropped)[:3] == ("BURNING", None, "PROCESSING"), "its files are to be loaded, too"


@pytest.mark.usefixtures("going")
def test_a_deleted_ingestions_held_batch_is_unfinished_work_to_be_taken_back(
    http: httpx.Client, service: Service, path: str, add_batch: AddBatch
) -> None:
    batch = add_batch()
    assert http.delete(path).status_code == 204
    assert state(service, batch)[:3] == ("OPEN", None, "PROCESSING")
    assert http.post(f"{path}/batches/{batch}/release").status_code == 404


@pytest.mark.usefixtures("going")
def test_the_sdk_lists_releases_and_drops(embedded: EmbeddedService, ingestion: str, add_batch: AddBatch) -> None:
    first, second = add_batch(), add_batch(age=timedelta(days=1))
    add_batch("LANDED", age=timedelta(days=2))
    thread = LoopThread()
    with Client(BASE_URL, transport=PlainASGI(embedded.app, thread)) as client:
        mine = client.ingestions.get(ingestion)
        waiting = mine.batches(status="held")
        assert [each.id for each in waiting] == [first, second]
        assert len(mine.batches()) == 3
        assert (waiting[0].files, waiting[0].records, waiting[0].reason) == (1, 2, REASON)
        assert repr(waiting[0]) == f"<Batch {first}: HELD, 1 files, 2 rows ({REASON})>"
        assert "2 entries" in waiting._repr_html_()
        run = waiting[0].release()
        assert (run.ingestion_id, run.reload().status) == (ingestion, "queued")
        assert waiting[0].reload().status == "OPEN"
        with pytest.raises(Conflict, match="is not held"):
            waiting[0].drop()
    thread.stop()


@pytest.mark.usefixtures("going")
def test_the_asynchronous_sdk_does_the_same(embedded: EmbeddedService, ingestion: str, add_batch: AddBatch) -> None:
    add_batch()

    async def drop() -> str:
        async with AsyncClient(BASE_URL, transport=httpx.ASGITransport(embedded.app)) as client:
            (waiting,) = await (await client.ingestions.get(ingestion)).batches(status="held")
            await waiting.drop()
            return (await waiting.reload()).status

    assert asyncio.run(drop()) == "BURNING"
