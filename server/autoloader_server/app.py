"""The application: the API's routers, what is around each request, and the server that listens."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import FastAPI

from autoloader_server.api import (
    batches,
    clusters,
    files,
    health,
    ingestions,
    later,
    previews,
    refresh,
    runs,
    schema_versions,
)
from autoloader_server.api.errors import install_error_answers
from autoloader_server.api.idempotency import Idempotency
from autoloader_server.api.request_id import RequestId
from autoloader_server.security.loopback import LoopbackOnly, require_loopback

if TYPE_CHECKING:
    from autoloader_server.service import Service
    from autoloader_server.settings import Settings


def create_app(service: Service) -> FastAPI:
    """The application over an open service; whoever opened it closes it."""
    app = FastAPI(
        title="autoloader",
        version=version("autoloader-sdk"),
        description="Loads files into Iceberg tables, each exactly once.",
    )
    app.state.service = service
    install_error_answers(app)
    app.include_router(health.router)
    # `/ingestions/test` and its like come before `/ingestions/{id}/…`.
    for module in (later, previews, ingestions, runs, refresh, files, batches, schema_versions, clusters):
        app.include_router(module.router, prefix="/api/v1")
    # The last one added is the outermost.
    app.add_middleware(Idempotency, database=service.database)
    app.add_middleware(LoopbackOnly)
    app.add_middleware(RequestId)
    return app


def serve(settings: Settings) -> None:
    """Listen on `settings.host` and `settings.port` until told to stop (Ctrl-C, SIGTERM).

    Raises ValueError before anything is opened where the host is not this machine alone.
    """
    require_loopback(settings.host)
    import uvicorn

    from autoloader_server.security.logs import configure_logging
    from autoloader_server.service import Service

    configure_logging()
    service = Service.open(settings)
    try:
        # Our own logging stays: uvicorn's would print past the redactor.
        uvicorn.run(create_app(service), host=settings.host, port=settings.port, log_config=None, server_header=False)
    finally:
        service.close()
