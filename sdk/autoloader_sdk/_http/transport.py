"""Sends requests with httpx, tries again where that is safe, reads answers and errors."""

from __future__ import annotations

import asyncio
import email.utils
import logging
import os
import ssl
import time
import uuid
from collections.abc import Awaitable, Callable, Generator
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httpx
import stamina

from autoloader_sdk import errors
from autoloader_sdk._http.endpoint import Async, Pause, Reply, Request, Step, Sync
from autoloader_sdk._http.service import AUTOLOADER, Service
from autoloader_sdk.config import Config, Secret, without_user
from autoloader_sdk.errors import AutoloaderError

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql.connect.session import SparkSession

# It tells of each further try; without a handler Python would print that bare on stderr.
logging.getLogger("stamina").addHandler(logging.NullHandler())

#: Answers of a proxy, or of a service that is just starting. What was asked may have been done.
_NOT_READY = frozenset({502, 503, 504})
_TOO_MANY = 429
#: For so many seconds a request is tried again, and no single pause that an answer asks for is longer.
_PATIENCE = 30.0
_RETRY: dict[str, Any] = {"attempts": 4, "timeout": _PATIENCE, "wait_initial": 0.2, "wait_max": 5.0}
#: A service of ours says so in each answer: it keeps idempotency keys, so a POST may be sent twice.
OURS = "Autoloader-Version"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class _NotNow(Exception):
    """An answer that is none yet; `refused`: what was asked was surely not done."""

    def __init__(self, response: httpx.Response, *, refused: bool = True) -> None:
        super().__init__(f"HTTP {response.status_code}")
        self.response = response
        self.refused = refused


def _again(*, repeatable: bool) -> Callable[[Exception], bool | float]:
    """Whether a request is sent once more after an error, and after how many seconds if the answer said so.

    What was never sent, or was refused (429), always is. After a broken connection, or from a proxy before a
    service that is not ready, only what is `repeatable`: it may have been done. A slow answer is not asked for twice.
    """

    def again(error: Exception) -> bool | float:
        if isinstance(error, _NotNow):
            if not error.refused and not repeatable:
                return False
            pause = _retry_after(error.response)
            return True if pause is None else pause <= _PATIENCE and pause
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return not _untrusted(error)
        slow = (httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
        return repeatable and isinstance(error, httpx.TransportError) and not isinstance(error, slow)

    return again


def _retry_after(response: httpx.Response) -> float | None:
    """The pause that an answer asks for, seconds: `Retry-After` is a number, or a time by the service's clock."""
    said = response.headers.get("Retry-After", "").strip()
    if said.isdecimal():
        return float(said)
    moment, now = _moment(said), _moment(response.headers.get("Date")) or datetime.now(UTC)
    return max(0.0, (moment - now).total_seconds()) if moment is not None else None


def _moment(header: str | None) -> datetime | None:
    """A time in a header; None where there is none, or something else."""
    try:
        found = email.utils.parsedate_to_datetime(header) if header else None
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found is not None and found.tzinfo is None else found


def _untrusted(error: Exception) -> bool:
    """Whether a connection failed over the certificate of the other side."""
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


class _Entry(httpx.Auth):
    """Dresses a request at the last moment, so that no options of a client hold the secret."""

    def __init__(self, service: Service, secret: Secret) -> None:
        self._service = service
        self._secret = secret

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        service = self._service
        request.headers["Authorization"] = f"{service.scheme} {service.credentials(self._secret.reveal())}"
        yield request


class Address:
    """A service's base URL and how requests to it are dressed."""

    def __init__(self, config: Config, service: Service = AUTOLOADER) -> None:
        self.config = config
        self.service = service
        # httpx would send a user and password in the URL instead of the token.
        self.base_url = service.base(without_user(config.url) if config.token is not None else config.url)

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
        if request.keyed:
            options["headers"] = {"Idempotency-Key": uuid.uuid4().hex}
        return options


def _trusting(certificates: Path) -> ssl.SSLContext:
    """The usual authorities, and those in a file."""
    context = httpx.create_ssl_context()
    try:
        context.load_verify_locations(cafile=certificates)
    except (OSError, ssl.SSLError) as error:
        raise errors.AutoloaderError(f"ca: {certificates} holds no certificates in PEM: {error}") from None
    return context


class SyncTransport(Sync):
    """The plain link. `transport` replaces the network (an embedded service, a test)."""

    def __init__(self, address: Address, transport: httpx.BaseTransport | None = None) -> None:
        self.address = address
        self._ours = False
        self._transport = transport
        self._beside: list[Callable[[], object]] = []
        self._pid = os.getpid()
        self._client = httpx.Client(**address.client_options(), transport=transport)

    @property
    def _http(self) -> httpx.Client:
        if self._pid != os.getpid():
            # After a fork: over the parent's connections answers would reach the wrong process.
            self._pid = os.getpid()
            self._client = httpx.Client(**self.address.client_options(), transport=self._transport)
        return self._client

    def perform(self, step: Step) -> Reply | AutoloaderError:
        if self.closed:
            return _closed()
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return Reply()
        request = self._http.build_request(**self.address.request_options(step))
        try:
            for attempt in stamina.retry_context(on=_again(repeatable=step.repeatable(ours=self._ours)), **_RETRY):
                with attempt:
                    response = _ready(self._http.send(request), self.address.service)
        except _NotNow as last:
            response = last.response
        except httpx.HTTPError as error:
            return _failure(error, request, self.address.service)
        self._ours |= OURS in response.headers
        return _read(response, self.address.service)

    def spark_session(
        self,
        cluster_id: str | None,  # noqa: ARG002 - a local link knows clusters by it
        url: str | None,
        *,
        token: str | None = None,
        catalog: str | None = None,
    ) -> SparkSession:
        from autoloader_sdk.spark import session

        return session(url, token=token, catalog=catalog)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._client.is_closed

    def close(self, *, wait: bool = True) -> None:  # noqa: ARG002 - a local link waits
        """Give the connections back; later calls are errors. `wait`: for the runs of this process, if any."""
        self._client.close()
        while self._beside:
            self._beside.pop()()

    def close_too(self, close: Callable[[], object]) -> None:
        """Have something else closed with this link."""
        self._beside.append(close)


class AsyncTransport(Async):
    """The awaited link. Each event loop has its own connections: one client serves many `asyncio.run`."""

    def __init__(self, address: Address, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.address = address
        self._transport = transport
        self.closed = False
        self._beside: list[Callable[[], Awaitable[object]]] = []
        self._ours = False
        self._pid = os.getpid()
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()

    def _http(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._by_loop.clear()
        if loop not in self._by_loop:
            self._by_loop[loop] = httpx.AsyncClient(**self.address.client_options(), transport=self._transport)
        return self._by_loop[loop]

    async def perform(self, step: Step) -> Reply | AutoloaderError:
        if self.closed:
            return _closed()
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return Reply()
        http = self._http()
        request = http.build_request(**self.address.request_options(step))
        try:
            async for attempt in stamina.retry_context(
                on=_again(repeatable=step.repeatable(ours=self._ours)), **_RETRY
            ):
                with attempt:
                    response = _ready(await http.send(request), self.address.service)
        except _NotNow as last:
            response = last.response
        except httpx.HTTPError as error:
            return _failure(error, request, self.address.service)
        self._ours |= OURS in response.headers
        return _read(response, self.address.service)

    def spark_session(
        self,
        cluster_id: str | None,  # noqa: ARG002 - a local link knows clusters by it
        url: str | None,
        *,
        token: str | None = None,
        catalog: str | None = None,
    ) -> SparkSession:
        from autoloader_sdk.spark import session

        return session(url, token=token, catalog=catalog)

    async def close(self, *, wait: bool = True) -> None:  # noqa: ARG002 - a local link waits
        """Give this loop's connections back; calls after this are errors. `wait`: as in the plain link."""
        self.closed = True
        http = self._by_loop.pop(asyncio.get_running_loop(), None)
        if http is not None:
            await http.aclose()
        while self._beside:
            await self._beside.pop()()

    def close_too(self, close: Callable[[], Awaitable[object]]) -> None:
        """Have something else closed with this link."""
        self._beside.append(close)


def _ready(response: httpx.Response, service: Service) -> httpx.Response:
    """The answer, if it is one. Raises _NotNow where the service could not give any."""
    if response.status_code in _NOT_READY or response.status_code == _TOO_MANY:
        raise _NotNow(response, refused=service.refused(response.status_code, _json(response)))
    return response


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _closed() -> AutoloaderError:
    return errors.ClientClosed("this client is closed; make a new one")


def _failure(error: httpx.HTTPError, request: httpx.Request, service: Service) -> AutoloaderError:
    """A request without an answer."""
    asked: dict[str, Any] = {"method": request.method, "url": without_user(str(request.url))}
    host = without_user(f"{request.url.scheme}://{request.url.netloc.decode()}")
    if isinstance(error, (httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout)):
        made: AutoloaderError = errors.Timeout(
            f"{host} did not answer in time; give the client a longer timeout, or look at {service.called}",
            **asked,
        )
    elif _untrusted(error):
        made = errors.ConnectionFailed(
            f"the certificate of {host} is not trusted ({error}): give the file of the authority that signed it "
            "(`ca`, or SSL_CERT_FILE), or look who answers there",
            **asked,
        )
    else:
        reason = str(error) or type(error).__name__
        made = errors.ConnectionFailed(
            f"{host} could not be reached ({reason}); is {service.called} running, and the address right?", **asked
        )
    made.__cause__ = error
    return made


def _read(response: httpx.Response, service: Service) -> Reply | AutoloaderError:
    request = response.request
    told: dict[str, Any] = {
        "method": request.method,
        "url": without_user(str(request.url)),
        "status": response.status_code,
        "request_id": response.headers.get("X-Request-ID"),
    }
    if not response.is_success:
        return _error(response, service, told)
    try:
        body = response.json() if response.content.strip() else None
    except ValueError:
        cut_off = f"the answer is not JSON: it was cut off, or this is not the address of {service.name}"
        return errors.ApiError(service.page if _is_page(response) else cut_off, **told)
    return Reply(
        status=response.status_code,
        body=body,
        next_path=_next_path(response, service.root),
        date=_moment(response.headers.get("Date")),
        told=told,
        ours=OURS in response.headers,
        service=service,
    )


def _next_path(response: httpx.Response, root: str) -> str | None:
    """Where the next page is, below the address that we know: a proxy's link may name another host."""
    link = response.links.get("next", {}).get("url")
    if not link:
        return None
    whole = str(response.url.join(link))
    return root + whole.partition(root)[2]


def _error(response: httpx.Response, service: Service, told: dict[str, Any]) -> AutoloaderError:
    status = response.status_code
    kind = errors.STATUS_ERRORS.get(status, errors.ServerError if status >= 500 else errors.ApiError)
    if response.has_redirect_location:
        where = without_user(response.headers["Location"])
        return errors.ApiError(f"{service.called} has moved to {where}; set {service.setting} to that", **told)
    detail = _detail(response, service)
    fields: tuple[errors.FieldProblem, ...] = ()
    if isinstance(detail, list) and all(isinstance(entry, dict) for entry in detail) and detail:
        listed = errors.Invalid.of(detail)
        detail, fields = listed.message, listed.fields
    own = detail and not _is_page(response)
    said = f"{service.says if own else ''}{detail or response.reason_phrase or 'no reason given'}"
    made = kind(f"{said}{service.advice(status, detail)}", **told)
    if isinstance(made, errors.Invalid):
        made.fields = fields
    if isinstance(made, errors.TooMany):
        made.retry_after = _retry_after(response)
    return made


def _detail(response: httpx.Response, service: Service) -> Any:
    """What the answer says of the error; of a web page only that it is one."""
    try:
        body = response.json()
    except ValueError:
        if _is_page(response):
            return f"{response.reason_phrase or 'an error'}, as a web page and not as {service.name} tells it"
        return " ".join(response.text.split())[:200]
    return service.detail(body)


def _is_page(response: httpx.Response) -> bool:
    return response.text.lstrip()[:1] == "<"
