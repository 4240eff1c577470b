"""The ledger over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from autoloader_sdk.models import FileData, FileVerdict
from autoloader_server.api.dependencies import TheService, link_next
from autoloader_server.services import files
from autoloader_server.services import why as verdicts

router = APIRouter(prefix="/ingestions/{ingestion_id}", tags=["files"])


@router.get("/files", summary="Each file version, and what became of it")
def find(
    *,
    ingestion_id: str,
    service: TheService,
    request: Request,
    response: Response,
    status: Annotated[list[str] | None, Query(description="one or more of the ledger's states, in any case")] = None,
    path: Annotated[str | None, Query(description="a file, a folder, or a file's name")] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
    cursor: str | None = None,
) -> list[FileData]:
    page = files.find(service, ingestion_id, status=status or (), path=path, limit=limit, cursor=cursor)
    return link_next(request, response, page)


@router.get("/files/why", summary="Why a file is in the table, or is not")
def why(
    ingestion_id: str,
    service: TheService,
    path: Annotated[str, Query(min_length=1, description="a file: its path, or its path below the source")],
) -> FileVerdict:
    return verdicts.why(service, ingestion_id, path)
