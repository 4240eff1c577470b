"""What an ingestion would see and cost, over HTTP; nothing is saved."""

from fastapi import APIRouter

from autoloader_sdk.models import CostBreakdown, IngestionCreate, PreviewResult
from autoloader_server.api.dependencies import TheService
from autoloader_server.services.costs import estimate_cost
from autoloader_server.services.previews import preview_of

router = APIRouter(prefix="/ingestions", tags=["previews"])


@router.post("/estimate-cost", summary="What it would cost a month, term by term")
def cost(body: IngestionCreate, service: TheService) -> CostBreakdown:
    return estimate_cost(service, body)


@router.post("/test", summary="Its files, columns and first rows, as a load would see them")
def test(body: IngestionCreate, service: TheService) -> PreviewResult:
    return preview_of(service, body)
