"""The real application over ASGI, with a real ledger of its own, on SQLite and on PostgreSQL. No Spark is started."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from autoloader_sdk._http.asgi import LoopThread, PlainASGI
from autoloader_server.db.tables import runs
from autoloader_server.embedded import BASE_URL, EmbeddedService, open_service
from autoloader_server.engine.lease import this_owner
from autoloader_server.service import Service

API = "/api/v1"


@pytest.fixture
def embedded(tmp_path: Path, database_url: str) -> Iterator[EmbeddedService]:
    opened = open_service(tmp_path / "home", database_url=database_url)
    yield opened
    assert opened.wait_idle(30)
    opened.close()


@pytest.fixture
def service(embedded: EmbeddedService) -> Service:
    return embedded.service


@pytest.fixture
def http(embedded: EmbeddedService) -> Iterator[httpx.Client]:
    """A bare HTTP client: what any client of the contract is."""
    thread = LoopThread()
    with httpx.Client(transport=PlainASGI(embedded.app, thread), base_url=BASE_URL, timeout=30) as client:
        yield client
    thread.stop()


@pytest.fixture
def take_database_away(service: Service, request: pytest.FixtureRequest) -> Callable[[], None]:
    """Has the service's database gone, for good."""

    def away() -> None:
        service.database.close()
        if service.database.is_sqlite:
            place = Path(str(service.database.url.database))
            for file in place.parent.glob(f"{place.name}*"):
                file.unlink()
            place.mkdir()
        else:
            request.getfixturevalue("postgres").drop_database(str(service.database.url))

    return away


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder of files to load."""
    place = tmp_path / "data"
    place.mkdir()
    return place


@pytest.fixture
def body(folder: Path) -> dict[str, Any]:
    """An IngestionCreate with what must be there and nothing else."""
    return {
        "name": "orders",
        "cluster_id": "local",
        "source": {"type": "local", "path": str(folder)},
        "format": {"type": "csv"},
        "destination": {"catalog": "lake", "database": "bronze", "table": "orders", "write_mode": "append"},
        "schedule": {},
    }


@pytest.fixture
def ingestion(http: httpx.Client, body: dict[str, Any]) -> str:
    """The id of a fresh ingestion."""
    made = http.post(f"{API}/ingestions", json=body)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


@pytest.fixture
def add_run(service: Service) -> Callable[..., str]:
    """Writes a row of `runs`, as the engine would have left it."""

    def add(ingestion_id: str, *, age: timedelta = timedelta(0), **values: Any) -> str:
        run_id = str(uuid.uuid4())
        moment = datetime.now(UTC) - age
        row: dict[str, Any] = {
            "id": run_id,
            "ingestion_id": ingestion_id,
            "trigger": "manual",
            "created_at": moment,
        }
        row |= {"status": "success", "started_at": moment, "ended_at": moment + timedelta(seconds=2)} | values
        with service.database.write() as connection:
            connection.execute(runs.insert().values(row))
        return run_id

    return add


@pytest.fixture
def going(service: Service, ingestion: str, add_run: Callable[..., str]) -> Iterator[str]:
    """A run of `ingestion` that this very process holds the lease of, for as long as the test lasts."""
    expires = service.database.clock + 3600.0
    run_id = add_run(
        ingestion,
        status="running",
        ended_at=None,
        lease_token="t",
        lease_owner=this_owner(),
        lease_expires_at=expires,
    )
    yield run_id
    with service.database.write() as connection:
        connection.execute(runs.update().where(runs.c.status.in_(("running", "queued"))).values(status="cancelled"))
