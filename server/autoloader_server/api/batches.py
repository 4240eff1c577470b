"""Batches over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from autoloader_sdk.models import BatchData, RunReceipt
from autoloader_server.api.dependencies import IdempotencyKey, TheService, link_next
from autoloader_server.services import batches

router = APIRouter(prefix="/ingestions/{ingestion_id}/batches", tags=["batches"])


@router.get("", summary="Its batches, newest first; HELD ones wait to be released or dropped")
def find(
    *,
    ingestion_id: str,
    service: TheService,
    request: Request,
    response: Response,
    status: Annotated[list[str] | None, Query(description="one or more of a batch's states, in any case")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: str | None = None,
) -> list[BatchData]:
    page = batches.find(service, ingestion_id, status=status or (), limit=limit, cursor=cursor)
    return link_next(request, response, page)


@router.get("/{batch_id}", summary="One batch")
def get(ingestion_id: str, batch_id: str, service: TheService) -> BatchData:
    return batches.get(service, ingestion_id, batch_id)


@router.post("/{batch_id}/release", status_code=202, summary="Load a held batch all the same; a run does it")
def release(
    *,
    ingestion_id: str,
    batch_id: str,
    service: TheService,
    force: bool = False,
    idempotency_key: IdempotencyKey = None,
) -> RunReceipt:
    return batches.decide(service, ingestion_id, batch_id, "release", force=force, idempotency_key=idempotency_key)


@router.post("/{batch_id}/drop", status_code=202, summary="Do not load a held batch: its files are skipped")
def drop(
    *,
    ingestion_id: str,
    batch_id: str,
    service: TheService,
    force: bool = False,
    idempotency_key: IdempotencyKey = None,
) -> RunReceipt:
    return batches.decide(service, ingestion_id, batch_id, "drop", force=force, idempotency_key=idempotency_key)
