"""Who may talk to a service that asks for no token: programs of this machine, no web page of somebody else.

A browser can be led to 127.0.0.1 by a name of the attacker's (DNS rebinding) or by a request across sites.
Both show in the headers: `Host` is then another name, `Origin` another site.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class LoopbackOnly:
    """ASGI middleware: refuses (403) a request whose Host or Origin is not this service on this machine."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            fault = _fault(Headers(scope=scope), (scope.get("server") or (None, None))[1])
            if fault is not None:
                answer = JSONResponse({"detail": fault}, status_code=403)
                await answer(scope, receive, send)
                return
        await self.app(scope, receive, send)


def is_loopback(host: str) -> bool:
    """Whether `host` is an address of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _fault(headers: Headers, port: int | None) -> str | None:
    host = headers.get("host", "")
    if not _is_ours(f"//{host}", (None, port)):
        return "this service answers only on this machine: Host must be localhost or 127.0.0.1, and its port"
    origin = headers.get("origin")
    if origin is not None:
        scheme = urlsplit(origin).scheme
        own = (port,) if port not in (80, 443, None) else (None, port)
        if scheme not in ("http", "https") or not _is_ours(origin, own):
            return "this service answers no pages of another site: the Origin header is not its own"
    return None


def _is_ours(url: str, ports: tuple[int | None, ...]) -> bool:
    try:
        parts = urlsplit(url)
        named = parts.port
    except ValueError:
        return False
    plain = not (parts.username or parts.password or parts.path.strip("/") or parts.query or parts.fragment)
    return plain and parts.hostname in _NAMES and named in ports
