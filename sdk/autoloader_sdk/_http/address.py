"""Where a service is, and how requests to it are dressed."""

from __future__ import annotations

import base64
import ssl
import uuid
from collections.abc import Generator
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from autoloader_sdk import errors
from autoloader_sdk._http.endpoint import Request
from autoloader_sdk._http.service import AUTOLOADER, Service
from autoloader_sdk.config import Config, Secret, user_in, without_user

if TYPE_CHECKING:
    from pathlib import Path

#: By this a request is found again in the service's log, also one that was never answered.
REQUEST_ID = "X-Request-ID"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class _Entry(httpx.Auth):
    """Dresses a request at the last moment, so that no options of a client hold the secret."""

    def __init__(self, service: Service, secret: Secret) -> None:
        self._service = service
        self._secret = secret

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        service = self._service
        request.headers["Authorization"] = f"{service.scheme} {service.credentials(self._secret.reveal())}"
        yield request


class _BasicEntry(httpx.Auth):
    """The same by the `user:password` of a URL, for a proxy before a service."""

    def __init__(self, user: Secret) -> None:
        self._user = user

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        user, _, password = self._user.reveal().partition(":")
        request.headers["Authorization"] = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
        yield request


class Address:
    """A service's base URL and how requests to it are dressed."""

    def __init__(self, config: Config, service: Service = AUTOLOADER) -> None:
        self.config = config
        self.service = service
        # httpx would send a user and password in the URL instead of the token, and write them into its log.
        self.base_url = service.base(without_user(config.url))

    def __repr__(self) -> str:
        return without_user(getattr(self, "base_url", self.config.url))  # in a traceback it may be half made

    def client_options(self) -> dict[str, Any]:
        """The options of an httpx client, sync or async.

        Raises:
            AutoloaderError: the certificates or the proxy are none.
        """
        config = self.config
        options: dict[str, Any] = {
            "base_url": self.base_url,
            "headers": {"Accept": "application/json", "User-Agent": f"autoloader-sdk/{version('autoloader-sdk')}"},
            "timeout": config.timeout,
            # A proxy from the environment has no business with a service on this machine.
            "trust_env": urlsplit(self.base_url).hostname not in _LOOPBACK,
        }
        if config.token is not None:
            options["auth"] = _Entry(self.service, config.token)
        elif (user := user_in(config.url)) is not None:
            options["auth"] = _BasicEntry(user)
        if config.ca is not None:
            options["verify"] = _trusting(config.ca)
        if config.proxy is not None:
            try:
                options["proxy"] = httpx.Proxy(config.proxy)
            except (ValueError, httpx.InvalidURL):
                shown = without_user(config.proxy)
                raise errors.AutoloaderError(
                    f"proxy '{shown}' is no address of one; write it like http://proxy.example.org:3128"
                ) from None
        return options

    def request_options(self, request: Request) -> dict[str, Any]:
        """The arguments of `httpx.Client.build_request`; what needs a key has one for all its tries."""
        options: dict[str, Any] = {"method": request.method, "url": request.path}
        if request.params:
            options["params"] = dict(request.params)
        if request.body is not None:
            options["json"] = request.body
        options["headers"] = {REQUEST_ID: uuid.uuid4().hex} if self.service.request_ids else {}
        if request.keyed:
            options["headers"]["Idempotency-Key"] = request.key or uuid.uuid4().hex
        if request.seconds is not None:
            most = self.config.timeout
            options["timeout"] = request.seconds if most is None else min(request.seconds, most)
        return options


def _trusting(certificates: Path) -> ssl.SSLContext:
    """The usual authorities, and those in a file."""
    context = httpx.create_ssl_context()
    try:
        context.load_verify_locations(cafile=certificates)
    except (OSError, ssl.SSLError) as error:
        raise errors.AutoloaderError(f"ca: {certificates} holds no certificates in PEM: {error}") from None
    return context
