"""Whether it is there, and works."""

from importlib.metadata import version

from fastapi import APIRouter, Response
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from autoloader_sdk.models import Health, ServiceInfo
from autoloader_server.api.dependencies import TheService
from autoloader_server.db.tenancy import PING
from autoloader_server.security.redact import logger
from autoloader_server.service import Service

router = APIRouter(tags=["health"])
_log = logger(__name__)


@router.get("/", summary="What this is")
def root() -> ServiceInfo:
    return ServiceInfo(name="autoloader", version=version("autoloader-sdk"), status="healthy")


@router.get("/health", summary="Whether it works: 503 where the database does not answer")
def health(service: TheService, response: Response) -> Health:
    database = _database(service)
    if database != "healthy":
        response.status_code = 503
    return Health.model_validate(
        {
            "status": database,
            "database": database,
            "database_kind": service.database.url.get_backend_name(),
            "spark": "running" if service.spark.started else "not_started",
            "active_runs": len(service.queue.active()),
            "version": version("autoloader-sdk"),
        }
    )


def _database(service: Service) -> str:
    try:
        with service.database.read() as connection:
            connection.execute(text(PING))
    except SQLAlchemyError:
        _log.exception("the database does not answer")
        return "unhealthy"
    return "healthy"
