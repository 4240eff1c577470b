"""Tokens over HTTP."""

from fastapi import APIRouter

from autoloader_sdk.models import NewToken, TokenCreate, TokenData
from autoloader_server.api.dependencies import TheCaller, TheService
from autoloader_server.services import tokens

PATH = "/tokens"
router = APIRouter(prefix=PATH, tags=["tokens"])


@router.post("", status_code=201, summary="Make a token; this answer alone holds it")
def create(body: TokenCreate, service: TheService, caller: TheCaller) -> NewToken:
    return tokens.create(service.database, caller, body)


@router.get("", summary="The tokens of the tenant, newest first, without themselves")
def find(service: TheService, caller: TheCaller) -> list[TokenData]:
    return tokens.find(service.database, caller)


@router.delete("/{token_id}", summary="End a token, by its id or name, and all that were derived from it")
def revoke(token_id: str, service: TheService, caller: TheCaller) -> TokenData:
    return tokens.revoke(service.database, caller, token_id)
