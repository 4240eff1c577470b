"""The application: the API's routers, what is around each request, and the server that listens."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import closing
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
    tokens,
)
from autoloader_server.api.access import Access
from autoloader_server.api.errors import install_error_answers
from autoloader_server.api.idempotency import Idempotency
from autoloader_server.api.request_id import RequestId
from autoloader_server.security.loopback import LoopbackOnly, is_loopback

if TYPE_CHECKING:
    from autoloader_server.service import Service
    from autoloader_server.settings import Settings

# For the requests that are being answered when the service is told to stop.
_REQUEST_SECONDS = 5


def create_app(service: Service, *, embedded: bool = False, beyond_loopback: bool = False) -> FastAPI:
    """The application over an open service; whoever opened it closes it.

    `embedded`: in the process of the one program that asks, which needs no token. `beyond_loopback`: others than this
    machine's programs can reach it: nobody is let in without a token, and it may have any name.
    """
    app = FastAPI(
        title="autoloader",
        version=version("autoloader-sdk"),
        description="Loads files into Iceberg tables, each exactly once.",
    )
    app.state.service = service
    install_error_answers(app)
    app.include_router(health.router)
    # `/ingestions/test` and its like come before `/ingestions/{id}/…`.
    for module in (later, previews, ingestions, runs, refresh, files, batches, schema_versions, clusters, tokens):
        app.include_router(module.router, prefix="/api/v1")
    # The last one added is the outermost.
    app.add_middleware(Idempotency, database=service.database)
    app.add_middleware(Access, database=service.database, embedded=embedded, needs_token=beyond_loopback)
    if not beyond_loopback:
        app.add_middleware(LoopbackOnly)
    app.add_middleware(RequestId)
    return app


def serve(settings: Settings) -> None:
    """Listen on `settings.host` and `settings.port` until told to stop (Ctrl-C, SIGTERM).

    Raises ValueError where others than this machine could reach it, and there is no token to tell them by; and where it
    cannot listen there.
    """
    import uvicorn

    from autoloader_server.security.logs import configure_logging
    from autoloader_server.service import Service, open_database
    from autoloader_server.services.tokens import any_valid

    beyond_loopback = not is_loopback(settings.host)
    if beyond_loopback:
        with closing(open_database(settings)) as database:
            if not any_valid(database):
                raise ValueError(
                    f"refusing to listen on {settings.host}: who can reach it could read and load data, and there is "
                    "no token yet to tell them by. Make one: autoloader token create --name NAME --scope admin"
                )
    _check_free(settings.host, settings.port)
    configure_logging()
    service = Service.open(settings)
    app = create_app(service, beyond_loopback=beyond_loopback)
    # uvicorn ends in peace, and then raises the signal again: by default that of SIGTERM would end us at once.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        # Our own logging stays: uvicorn's would print past the redactor.
        uvicorn.run(
            app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=_REQUEST_SECONDS,
        )
    finally:
        service.close()


def _check_free(host: str, port: int) -> None:
    """Raises ValueError where nobody can listen there: uvicorn would log it, beside a start and an end."""
    host = host.strip("[]")
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise ValueError(f"cannot listen on {host}, port {port}: {why}. Choose another one: --port, --host") from None
