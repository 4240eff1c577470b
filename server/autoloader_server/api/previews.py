"""What an ingestion would see and cost, over HTTP; nothing is saved."""

from typing import Annotated

from fastapi import APIRouter, Query

from autoloader_sdk.models import CostBreakdown, IngestionCreate, PreviewResult
from autoloader_server.api.dependencies import TheService
from autoloader_server.services.costs import estimate_cost, estimate_saved
from autoloader_server.services.previews import SHOWN_FILES, preview_of, preview_saved

router = APIRouter(prefix="/ingestions", tags=["previews"])
Files = Annotated[int, Query(ge=0, le=10_000, description="so many files of each action are in the plan")]
Sampled = Annotated[bool, Query(description="let Spark read a sample of what would be loaded")]


@router.post("/estimate-cost", summary="What it would cost a month, term by term")
def cost(body: IngestionCreate, service: TheService) -> CostBreakdown:
    return estimate_cost(service, body)


@router.post("/{ingestion_id}/estimate-cost", summary="What it costs a month, term by term")
def cost_of_saved(ingestion_id: str, service: TheService) -> CostBreakdown:
    return estimate_saved(service, ingestion_id)


@router.post("/test", summary="Its files, columns and first rows, as a load would see them")
def of_one_to_be(
    body: IngestionCreate,
    service: TheService,
    files: Files = SHOWN_FILES,
    sample: Sampled = True,  # noqa: FBT002
) -> PreviewResult:
    return preview_of(service, body, files=files, sample=sample)


@router.post("/{ingestion_id}/preview", summary="What its next run would do about each file, and what it would load")
def of_saved(
    ingestion_id: str,
    service: TheService,
    files: Files = SHOWN_FILES,
    sample: Sampled = True,  # noqa: FBT002
) -> PreviewResult:
    return preview_saved(service, ingestion_id, files=files, sample=sample)
