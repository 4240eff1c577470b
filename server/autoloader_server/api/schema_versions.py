"""Schema versions over HTTP."""

from fastapi import APIRouter

from autoloader_sdk.models import SchemaVersion, SchemaVersions
from autoloader_server.api.dependencies import TheService
from autoloader_server.services import schema_versions

router = APIRouter(prefix="/ingestions/{ingestion_id}/schema-versions", tags=["schema versions"])


@router.get("", summary="How the table's schema changed, oldest first")
def find(ingestion_id: str, service: TheService) -> SchemaVersions:
    return schema_versions.find(service, ingestion_id)


@router.get("/latest", summary="The newest version")
def latest(ingestion_id: str, service: TheService) -> SchemaVersion:
    return schema_versions.get(service, ingestion_id, None)


@router.get("/{version}", summary="One version")
def get(ingestion_id: str, version: int, service: TheService) -> SchemaVersion:
    return schema_versions.get(service, ingestion_id, version)
