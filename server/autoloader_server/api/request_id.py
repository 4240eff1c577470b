"""An id for each request, the caller's or ours: in `X-Request-ID`, and in our log with each error; and our version."""

from __future__ import annotations

import re
import uuid
from importlib.metadata import version

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADER = "X-Request-ID"
# By it a client knows that idempotency keys are kept.
_VERSION = "Autoloader-Version"
_OURS = version("autoloader-sdk")
# What is echoed and logged must not break a line.
_USABLE = re.compile(r"[A-Za-z0-9._:/+=\-]{1,128}")


class RequestId:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent = Headers(scope=scope).get(_HEADER, "")
        request_id = sent if _USABLE.fullmatch(sent) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers[_HEADER] = request_id
                headers[_VERSION] = _OURS
            await send(message)

        await self.app(scope, receive, send_with_id)
