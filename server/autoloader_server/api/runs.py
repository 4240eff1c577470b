"""Runs over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from autoloader_sdk.models import RunData, RunLogLine, RunReceipt
from autoloader_server.api.dependencies import IdempotencyKey, TheService, link_next
from autoloader_server.services import run_logs, runs

router = APIRouter(prefix="/ingestions/{ingestion_id}", tags=["runs"])


@router.post("/run", status_code=202, summary="Ask for a run; it goes on behind the answer")
def run(
    *, ingestion_id: str, service: TheService, force: bool = False, idempotency_key: IdempotencyKey = None
) -> RunReceipt:
    return runs.request(service, ingestion_id, force=force, idempotency_key=idempotency_key)


@router.get("/runs", summary="Its runs, newest first; none where it is not known")
def find(
    *,
    ingestion_id: str,
    service: TheService,
    request: Request,
    response: Response,
    days: Annotated[int, Query(ge=1, le=36_500)] = 30,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: str | None = None,
) -> list[RunData]:
    return link_next(request, response, runs.find(service, ingestion_id, days=days, limit=limit, cursor=cursor))


@router.get("/runs/{run_id}", summary="One run")
def get(ingestion_id: str, run_id: str, service: TheService) -> RunData:
    return runs.get(service, ingestion_id, run_id)


@router.get("/runs/{run_id}/logs", summary="What it says of itself, oldest line first")
def logs(
    *,
    ingestion_id: str,
    run_id: str,
    service: TheService,
    request: Request,
    response: Response,
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="only lines after the one of this id")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
    cursor: str | None = None,
) -> list[RunLogLine]:
    page = run_logs.find(service, ingestion_id, run_id, after=after, limit=limit, cursor=cursor)
    return link_next(request, response, page)


@router.post("/runs/{run_id}/retry", status_code=202, summary="A new run over the files that failed in this one")
def retry(
    *,
    ingestion_id: str,
    run_id: str,
    service: TheService,
    force: bool = False,
    idempotency_key: IdempotencyKey = None,
) -> RunReceipt:
    return runs.retry(service, ingestion_id, run_id, force=force, key=idempotency_key)


@router.post("/runs/{run_id}/cancel", status_code=202, summary="End it at its next safe point")
def cancel(ingestion_id: str, run_id: str, service: TheService) -> RunData:
    return runs.cancel(service, ingestion_id, run_id)
