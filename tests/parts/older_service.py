"""A service that speaks the older half of the contract and nothing more, over a real socket.

It is a model of what is in use: no paging, no filters, no ledger, no idempotency keys, no version header, times without
a zone, credentials sent back as they came, receipts of both generations, unknown query parameters ignored.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.parts.listening import listening

_PREFIX = "/api/v1"
Answer = Callable[[Request], Awaitable[Response]]


class OlderService:
    """What it knows. A run ends at once, whatever is at the source."""

    def __init__(self) -> None:
        self.ingestions: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, list[dict[str, Any]]] = {}
        #: Whether receipts name the run.
        self.names_runs = True

    def app(self) -> Starlette:
        """What listens."""
        one, run = "/ingestions/{id}", "/ingestions/{id}/runs/{run}"
        routes: list[tuple[str, str, Answer]] = [
            ("POST", "/ingestions", self.create),
            ("GET", "/ingestions", self.find),
            ("POST", "/ingestions/test", self.preview),
            ("POST", "/ingestions/estimate-cost", self.cost),
            ("GET", one, self.get),
            ("PUT", one, self.change),
            ("DELETE", one, self.delete),
            ("POST", f"{one}/run", self.run),
            ("POST", f"{one}/pause", self.pause),
            ("POST", f"{one}/resume", self.resume),
            ("DELETE", f"{one}/processed-files", self.clear),
            ("GET", f"{one}/runs", self.runs_of),
            ("GET", run, self.one_run),
            ("POST", f"{run}/retry", self.retry),
            ("POST", f"{one}/refresh/full", self.refresh),
            ("POST", f"{one}/refresh/new-only", self.refresh),
            ("GET", f"{one}/schema-versions", self.versions),
            ("GET", f"{one}/schema-versions/latest", self.one_version),
            ("GET", f"{one}/schema-versions/{{number}}", self.one_version),
            ("GET", "/clusters", self.clusters),
            ("GET", "/clusters/{id}", self.cluster),
            ("POST", "/clusters/{id}/test-connection", self.connection),
        ]
        return Starlette(
            routes=[
                Route("/", self.root),
                Route("/health", self.health),
                *(Route(_PREFIX + path, function, methods=[method]) for method, path, function in routes),
            ],
            exception_handlers={HTTPException: _refused},
        )

    async def root(self, _request: Request) -> Response:
        return JSONResponse({"name": "autoloader", "version": "1.0.0", "status": "healthy"})

    async def health(self, _request: Request) -> Response:
        return JSONResponse({"status": "healthy", "database": "healthy"})

    async def create(self, request: Request) -> Response:
        body = await request.json()
        known: dict[str, Any] = {"id": f"ing_{uuid.uuid4().hex[:12]}", "tenant_id": "default", "status": "draft"}
        known["metadata"] = {}
        known |= {"created_at": _now(), "updated_at": _now(), "prefect_deployment_id": None}
        fields = ("name", "cluster_id", "source", "format", "destination", "schedule", "quality", "on_schema_change")
        made = {**{field: body.get(field) for field in fields}, **known}
        self.ingestions[made["id"]] = made
        return JSONResponse(made, 201)

    async def find(self, _request: Request) -> Response:
        return JSONResponse(list(self.ingestions.values()))

    async def get(self, request: Request) -> Response:
        return JSONResponse(self._one(request))

    async def change(self, request: Request) -> Response:
        one, body = self._one(request), await request.json()
        one |= {field: body[field] for field in ("status", "schedule", "quality") if field in body}
        if "alert_recipients" in body:
            one["quality"] = {**(one["quality"] or {}), "alert_recipients": body["alert_recipients"]}
        return JSONResponse(one)

    async def delete(self, request: Request) -> Response:
        del self.ingestions[self._one(request)["id"]]
        return Response(status_code=204)

    async def pause(self, request: Request) -> Response:
        self._one(request)["status"] = "paused"
        return JSONResponse({"status": "paused"})

    async def resume(self, request: Request) -> Response:
        self._one(request)["status"] = "active"
        return JSONResponse({"status": "active"})

    async def run(self, request: Request) -> Response:
        run_id = self._add_run(self._one(request)["id"], "manual")
        if self.names_runs:
            return JSONResponse({"run_id": run_id, "status": "accepted"}, 202)
        told = {"status": "triggered", "method": "prefect", "flow_run_id": str(uuid.uuid4()), "message": "triggered"}
        return JSONResponse(told, 202)

    async def retry(self, request: Request) -> Response:
        run_id = self._run(request)["id"]
        self._add_run(request.path_params["id"], "retry")
        return JSONResponse({"status": "retry_scheduled", "original_run_id": run_id}, 202)

    async def runs_of(self, request: Request) -> Response:
        return JSONResponse(list(reversed(self.runs.get(request.path_params["id"], []))))

    async def one_run(self, request: Request) -> Response:
        return JSONResponse(self._run(request))

    async def clear(self, request: Request) -> Response:
        one = self._one(request)["id"]
        told = {"message": "Cleared 3 processed file records", "files_cleared": 3, "ingestion_id": one}
        return JSONResponse(told)

    async def preview(self, _request: Request) -> Response:
        column = {"name": "a", "data_type": "int", "nullable": True, "is_new": True}
        return JSONResponse({"schema": [column], "sample_data": ["1"], "file_count": 1, "estimated_records": 10})

    async def cost(self, _request: Request) -> Response:
        names = ("compute_per_run", "compute_monthly", "storage_monthly", "discovery_monthly", "total_monthly")
        return JSONResponse({**dict.fromkeys(names, 1.5), "breakdown_details": {}})

    async def refresh(self, request: Request) -> Response:
        one, body = self._one(request)["id"], await request.json()
        if not body.get("confirm"):
            raise HTTPException(422, "confirm")
        dry = bool(body.get("dry_run"))
        mode = "full" if request.url.path.endswith("full") else "new_only"
        told: dict[str, Any] = {"status": "dry_run" if dry else "accepted", "message": "ok", "ingestion_id": one}
        told |= {"timestamp": _now(), "mode": mode, "operations": [], "warnings": [], "notes": []}
        told["impact"] = {"files_to_process": 3, "estimated_data_size_gb": 0.1, "estimated_cost_usd": 0.0}
        told["run_id"] = None if dry else self._add_run(one, "refresh")
        if dry:
            told["would_perform"] = [{"operation": "table_dropped"}]
        return JSONResponse(told, 202)

    async def versions(self, request: Request) -> Response:
        return JSONResponse({"versions": [self._version(request)], "total": 1, "current_version": 2})

    async def one_version(self, request: Request) -> Response:
        if request.path_params.get("number", "2") != "2":
            raise HTTPException(404, "Schema version not found")
        return JSONResponse(self._version(request))

    def _version(self, request: Request) -> dict[str, Any]:
        self._one(request)
        change = {"change_type": "NEW_COLUMN", "column_name": "b", "old_type": None, "new_type": "string"}
        # The older model's names.
        version = {"id": "v2", "version": 2, "detected_at": _now(), "schema": {"type": "struct", "fields": []}}
        return version | {"changes": [change], "resolution_type": "append_new_columns", "affected_files": ["b.csv"]}

    async def clusters(self, _request: Request) -> Response:
        return JSONResponse([_CLUSTER])

    async def cluster(self, request: Request) -> Response:
        if request.path_params["id"] != _CLUSTER["id"]:
            raise HTTPException(404, "Cluster not found")
        return JSONResponse(_CLUSTER)

    async def connection(self, request: Request) -> Response:
        told = {"status": "connected", "cluster_id": request.path_params["id"], "spark_version": "3.5.7"}
        return JSONResponse({**told, "available_memory_gb": 4.0})

    def _one(self, request: Request) -> dict[str, Any]:
        found = self.ingestions.get(request.path_params["id"])
        if found is None:
            raise HTTPException(404, "Ingestion not found")
        return found

    def _run(self, request: Request) -> dict[str, Any]:
        for run in self.runs.get(request.path_params["id"], []):
            if run["id"] == request.path_params["run"]:
                return run
        raise HTTPException(404, "Run not found")

    def _add_run(self, ingestion_id: str, trigger: str) -> str:
        run: dict[str, Any] = {"id": str(uuid.uuid4()), "ingestion_id": ingestion_id, "trigger": trigger}
        run |= {"status": "success", "started_at": _now(), "ended_at": _now(), "errors": None, "spark_job_id": None}
        run["metrics"] = {"files_processed": 1, "records_ingested": 2, "bytes_read": 3, "error_count": 0}
        self.runs.setdefault(ingestion_id, []).append(run)
        return str(run["id"])


_CLUSTER: dict[str, Any] = {
    "id": "default",
    "name": "Default",
    "status": "running",
    "workers": 2,
    "dbu_per_worker": 1.0,
    "spark_connect_url": "sc://spark.example.org:15002",
    "pricing": {"dbu_rate": 0.5},
}


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code)


def _now() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat()


@contextmanager
def older_service() -> Iterator[tuple[OlderService, str]]:
    """One that listens, and its URL."""
    service = OlderService()
    with listening(service.app()) as url:
        yield service, url
