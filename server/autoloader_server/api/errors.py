"""Error answers, in FastAPI's shape `{"detail": …}`; never with what was sent, which may hold credentials."""

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError

from autoloader_server.db.engine import DATABASE_AWAY, disk_full
from autoloader_server.security.redact import logger, redact
from autoloader_server.security.secrets import SecretsKeyError
from autoloader_server.services.errors import Invalid, ServiceRefusal
from autoloader_server.spark.errors import SparkError

_log = logger(__name__)


def install_error_answers(app: FastAPI) -> None:
    """Give each kind of error its answer."""
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(ServiceRefusal, refused)
    app.add_exception_handler(SparkError, _unavailable)
    app.add_exception_handler(SecretsKeyError, _unavailable)
    app.add_exception_handler(DataError, _not_storable)
    for away in DATABASE_AWAY:
        app.add_exception_handler(away, database_away)
    app.add_exception_handler(Exception, _bug)


async def _malformed(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return JSONResponse({"detail": _without_input(error.errors())}, status_code=422)


async def refused(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ServiceRefusal)
    detail: Any = redact(str(error))
    if isinstance(error, Invalid):
        detail = [{"type": "rule", "loc": list(at), "msg": redact(message)} for at, message in error.faults]
    return JSONResponse({"detail": detail}, status_code=error.status_code)


async def _unavailable(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": redact(str(error))}, status_code=503)


async def database_away(_request: Request, error: Exception) -> JSONResponse:
    _log.error("the database does not answer", exc_info=error)
    why = "has no room left on its disk: free some space" if disk_full(error) else "does not answer"
    return JSONResponse({"detail": f"the database {why}; the service's log says more"}, status_code=503)


async def _not_storable(_request: Request, error: Exception) -> JSONResponse:
    """PostgreSQL takes no NUL character in a text, no longer one than its column, and no number beyond its type."""
    assert isinstance(error, DataError)
    message = f"the database cannot store a value: {redact(str(error.orig))}"
    return JSONResponse({"detail": [{"type": "rule", "loc": [], "msg": message}]}, status_code=422)


async def _bug(request: Request, error: Exception) -> JSONResponse:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    number = getattr(request.state, "request_id", "")
    detail = f"an error in autoloader itself ({type(error).__name__}); its log says more, by request id {number}"
    # This answer is made outside the middleware that adds the id to all others.
    return JSONResponse({"detail": detail}, status_code=500, headers={"X-Request-ID": number})


def _without_input(errors: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": each["type"], "loc": list(each["loc"]), "msg": redact(str(each["msg"]))} for each in errors]
