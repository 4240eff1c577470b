"""Routes of the contract that this version does not carry out: 501 with a sentence, no invented value."""

from collections.abc import Callable
from typing import NoReturn

from fastapi import APIRouter

from autoloader_server.services.errors import NotYet

router = APIRouter(tags=["not there yet"])

_ROUTES = (
    (
        "GET",
        "/ingestions/{ingestion_id}/flow-runs",
        "Prefect is not connected in this version; GET …/runs has all runs",
    ),
)


def _refusal(sentence: str) -> Callable[[str], NoReturn]:
    # The parameter is for the OpenAPI document, which is to declare each that a path has.
    def refuse(ingestion_id: str) -> NoReturn:  # noqa: ARG001
        raise NotYet(sentence)

    return refuse


for _method, _path, _sentence in _ROUTES:
    router.add_api_route(
        _path,
        _refusal(_sentence),
        methods=[_method],
        status_code=501,
        response_model=None,
        summary="Not there yet",
        operation_id=f"{_method.lower()}{_path.replace('/', '_').translate(str.maketrans('', '', '{}-'))}",
    )
