"""`Idempotency-Key` on POST: the first answer is kept for 24 hours and given again."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autoloader_server.api import tokens
from autoloader_server.api.errors import database_away, refused
from autoloader_server.db.engine import DATABASE_AWAY, Database
from autoloader_server.services import idempotency
from autoloader_server.services.errors import Fault, Invalid, ServiceRefusal

_LONGEST_KEY = 255
_TOKENS = f"/api/v1{tokens.PATH}"
# A client whose connection broke sends the same again while the first is still worked on.
_WAITS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)


class Idempotency:
    """ASGI middleware. Only successes are kept: after a refusal or an error the same key may try again."""

    def __init__(self, app: ASGIApp, database: Database) -> None:
        self.app = app
        self.database = database

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = Headers(scope=scope).get("Idempotency-Key") if scope["type"] == "http" else None
        if key is None or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        if scope["path"] == _TOKENS:
            # The answer holds a token, which is kept nowhere.
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        database = self.database.of_tenant(request.state.caller.tenant)
        body = await request.body()
        path = f"{scope['path']}?{scope['query_string'].decode('latin-1')}"
        try:
            kept = await self._begin(database, key, idempotency.digest("POST", path, body))
        except DATABASE_AWAY as error:
            await (await database_away(request, error))(scope, receive, send)
            return
        except ServiceRefusal as error:
            await (await refused(request, error))(scope, receive, send)
            return
        if kept is not None:
            answer = JSONResponse(kept.body, kept.status_code, headers={"Idempotency-Replayed": "true"})
            await answer(scope, receive, send)
            return
        await self._carry_out(database, key, scope, _replayed(body, receive), send)

    async def _begin(self, database: Database, key: str, request: str) -> idempotency.Answer | None:
        if not 0 < len(key) <= _LONGEST_KEY:
            raise Invalid([Fault(("header", "Idempotency-Key"), f"must have 1 to {_LONGEST_KEY} characters")])
        for seconds in _WAITS:
            try:
                return await run_in_threadpool(idempotency.begin, database, key, request)
            except idempotency.StillWorking:
                await asyncio.sleep(seconds)
        return await run_in_threadpool(idempotency.begin, database, key, request)

    async def _carry_out(self, database: Database, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Do it, and keep the answer before it is sent, so that none is sent and then done again."""
        held: list[Message] = []

        async def hold(message: Message) -> None:
            held.append(message)

        try:
            await self.app(scope, receive, hold)
        finally:
            await run_in_threadpool(idempotency.finish, database, key, _answer(held))
        for message in held:
            await send(message)


def _answer(messages: list[Message]) -> idempotency.Answer | None:
    status = next((message["status"] for message in messages if message["type"] == "http.response.start"), 500)
    if not 200 <= status < 300:
        return None
    content = b"".join(message.get("body", b"") for message in messages if message["type"] == "http.response.body")
    parsed: Any = json.loads(content) if content else None
    return idempotency.Answer(status, parsed)


def _replayed(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
