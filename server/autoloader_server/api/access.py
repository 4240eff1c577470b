"""Who is let in, and to what: before anything else is looked at."""

from __future__ import annotations

import re

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from autoloader_sdk import models
from autoloader_server.api.errors import database_away, refused
from autoloader_server.db.engine import DATABASE_AWAY, Database
from autoloader_server.security.callers import HOLDER, Caller
from autoloader_server.services import tokens
from autoloader_server.services.errors import NotAllowed, NotLetIn, ServiceRefusal

# Whether it lives is no secret: probes and load balancers have no token.
_FOR_ALL = frozenset({"/", "/health"})
_LOOKS = frozenset({"GET", "HEAD", "OPTIONS"})
# What a request of the scope `operate` does to what is there. All other changes need `admin`.
_OPERATES = re.compile(
    r"/api/v1/("
    r"ingestions/[^/]+/(run|pause|resume|preview|estimate-cost|runs/[^/]+/(retry|cancel)|batches/[^/]+/(release|drop))"
    r"|clusters/[^/]+/test-connection"
    r")"
)
# A narrower token is made, and ended, by whoever has one: services/tokens.py says how narrow.
_TOKENS = re.compile(r"/api/v1/tokens(/[^/]+)?")


class Access:
    """ASGI middleware: 401 to who is not known, 403 to who may not; else `request.state.caller` says who it is.

    `needs_token`: without a token nobody is let in; otherwise nobody is once a token was made. Where the application is
    a part of the program that asks, `embedded`, whoever asks holds the service.
    """

    def __init__(self, app: ASGIApp, database: Database, *, embedded: bool, needs_token: bool) -> None:
        self.app = app
        self.database = database
        self.embedded = embedded
        self.needs_token = needs_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                caller = await self._caller(scope)
            except DATABASE_AWAY as error:
                await (await database_away(Request(scope), error))(scope, receive, send)
                return
            except ServiceRefusal as error:
                answer = await refused(Request(scope), error)
                if isinstance(error, NotLetIn):
                    answer.headers["WWW-Authenticate"] = "Bearer"
                await answer(scope, receive, send)
                return
            scope.setdefault("state", {})["caller"] = caller
        await self.app(scope, receive, send)

    async def _caller(self, scope: Scope) -> Caller:
        """Raises NotLetIn and NotAllowed."""
        if self.embedded or scope["path"] in _FOR_ALL:
            return HOLDER
        kind, _, token = Headers(scope=scope).get("Authorization", "").partition(" ")
        if kind.casefold() == "bearer" and token.strip():
            caller = await run_in_threadpool(tokens.caller_of, self.database, token.strip())
        elif self.needs_token or await run_in_threadpool(tokens.any_made, self.database):
            raise NotLetIn(
                "this service asks for a token; it stands in the header Authorization, behind the word Bearer "
                "(AUTOLOADER_TOKEN)"
            )
        else:
            return HOLDER
        needed = scope_for(scope["method"], scope["path"])
        if not caller.may(needed):
            raise NotAllowed(
                f"this needs a token of scope '{needed}', and '{caller.name}' has the scope '{caller.scope}'"
            )
        return caller


def scope_for(method: str, path: str) -> models.Scope:
    """What a request needs; `admin` for whatever is not known to need less."""
    if method in _LOOKS or _TOKENS.fullmatch(path):
        return "read"
    return "operate" if method == "POST" and _OPERATES.fullmatch(path) else "admin"
