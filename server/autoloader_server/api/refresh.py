"""Refreshes over HTTP."""

from fastapi import APIRouter

from autoloader_sdk.models import RefreshOperation, RefreshRequest
from autoloader_server.api.dependencies import TheService
from autoloader_server.services.refresh import refresh

router = APIRouter(prefix="/ingestions/{ingestion_id}/refresh", tags=["refresh"])


@router.post("/full", status_code=202, summary="Drop the table, forget its files, and load them all again")
def full(
    *, ingestion_id: str, service: TheService, body: RefreshRequest | None = None, force: bool = False
) -> RefreshOperation:
    return refresh(service, ingestion_id, body, "full", force=force)


@router.post("/new-only", status_code=202, summary="Drop the table, and load what was not loaded before")
def new_only(
    *, ingestion_id: str, service: TheService, body: RefreshRequest | None = None, force: bool = False
) -> RefreshOperation:
    return refresh(service, ingestion_id, body, "new_only", force=force)
