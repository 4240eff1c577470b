"""Ingestions over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from autoloader_sdk.models import ClearedFiles, IngestionCreate, IngestionData, IngestionUpdate, StatusChange
from autoloader_server.api.dependencies import IdempotencyKey, TheCaller, TheService, link_next
from autoloader_server.services import ingestions
from autoloader_server.services.clear import clear_processed_files

router = APIRouter(prefix="/ingestions", tags=["ingestions"])


@router.post("", status_code=201, summary="Make an ingestion; it is a draft")
def create(
    *,
    body: IngestionCreate,
    service: TheService,
    caller: TheCaller,
    idempotency_key: IdempotencyKey = None,
    unique_name: Annotated[bool, Query(description="409 where an ingestion of that name is there")] = False,
) -> IngestionData:
    return ingestions.create(
        service, body, unique_name=unique_name, idempotency_key=idempotency_key, created_by=caller.name
    )


@router.get("", summary="The ingestions, oldest first")
def find(
    *,
    service: TheService,
    request: Request,
    response: Response,
    status: str | None = None,
    source_type: str | None = None,
    limit: Annotated[int | None, Query(ge=1, le=1000, description="all of them without it")] = None,
    cursor: str | None = None,
) -> list[IngestionData]:
    page = ingestions.find(service, status=status, source_type=source_type, limit=limit, cursor=cursor)
    return link_next(request, response, page)


@router.get("/{ingestion_id}", summary="One ingestion")
def get(ingestion_id: str, service: TheService) -> IngestionData:
    return ingestions.get(service, ingestion_id)


@router.put("/{ingestion_id}", summary="Change what is given")
def change(ingestion_id: str, body: IngestionUpdate, service: TheService) -> IngestionData:
    return ingestions.change(service, ingestion_id, body)


@router.delete("/{ingestion_id}", status_code=204, summary="Delete it; its runs stay on record")
def delete(*, ingestion_id: str, service: TheService, delete_table: bool = False, force: bool = False) -> None:
    ingestions.delete(service, ingestion_id, delete_table=delete_table, force=force)


@router.post("/{ingestion_id}/pause", summary="Let it rest; runs need force")
def pause(ingestion_id: str, service: TheService) -> StatusChange:
    ingestions.set_status(service, ingestion_id, "paused")
    return StatusChange(status="paused")


@router.post("/{ingestion_id}/resume", summary="Let it go on")
def resume(ingestion_id: str, service: TheService) -> StatusChange:
    ingestions.set_status(service, ingestion_id, "active")
    return StatusChange(status="active")


@router.delete("/{ingestion_id}/processed-files", summary="Forget its files: the next run loads them all")
def clear(ingestion_id: str, service: TheService) -> ClearedFiles:
    return clear_processed_files(service, ingestion_id)
