"""What an ingestion would see and cost, over HTTP; nothing is saved."""

from fastapi import APIRouter

from autoloader_sdk.models import CostBreakdown, IngestionCreate
from autoloader_server.api.dependencies import TheService
from autoloader_server.services.costs import estimate_cost

router = APIRouter(prefix="/ingestions", tags=["previews"])


@router.post("/estimate-cost", summary="What it would cost a month, term by term")
def cost(body: IngestionCreate, service: TheService) -> CostBreakdown:
    return estimate_cost(service, body)
