"""Where everything of Prefect begins: a client of its server, and the nouns hung on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from autoloader_sdk._http.endpoint import Async, Call, L, Request, Root, Sync, call
from autoloader_sdk.config import Secret
from autoloader_sdk.prefect.deployments import Deployments
from autoloader_sdk.prefect.flow_runs import FlowRuns
from autoloader_sdk.prefect.server import PREFECT, apart, settings
from autoloader_sdk.prefect.work_pools import WorkPools

if TYPE_CHECKING:
    import os
    from types import TracebackType

    import httpx

    from autoloader_sdk._http.async_transport import AsyncTransport
    from autoloader_sdk._http.transport import SyncTransport


class _Nouns(Root[L]):
    """What both clients have."""

    @property
    def url(self) -> str:
        """The address of the API."""
        return self._link.address.base_url

    @property
    def deployments(self) -> Deployments[L]:
        """Flows, and how they are run."""
        return Deployments(self._link)

    @property
    def flow_runs(self) -> FlowRuns[L]:
        """Their executions."""
        return FlowRuns(self._link)

    @property
    def work_pools(self) -> WorkPools[L]:
        """Where workers take runs from."""
        return WorkPools(self._link)

    @call
    def health(self) -> Call[bool]:
        """Whether the server is well; where it cannot be reached, ConnectionFailed. It asks for no password."""
        return (yield Request("GET", "/health")).value(bool)

    @call
    def version(self) -> Call[str]:
        """The server's version, such as `3.9.1`."""
        return (yield Request("GET", "/admin/version")).value(str)


class Prefect(_Nouns[Sync]):
    """A client that waits for each answer. As a context manager it closes itself at the end of the block."""

    _link: SyncTransport

    def __init__(
        self,
        url: str | None = None,
        auth_string: str | Secret | None = None,
        *,
        timeout: float | None = None,
        ca: str | os.PathLike[str] | None = None,
        proxy: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """What is not given comes from the environment.

        Args:
            url: The address of Prefect's API, such as `http://127.0.0.1:4200/api`; else PREFECT_API_URL.
            auth_string: `user:password`, where the server asks for it; else PREFECT_API_AUTH_STRING.
            timeout: Seconds for one answer, 30 unless said.
            ca: A file of certificates to trust beside the usual ones, PEM.
            proxy: The proxy to go through; without it those of the environment (HTTPS_PROXY, NO_PROXY).
            transport: An httpx transport, for special networks.

        Raises:
            AutoloaderError: there is no address, or something here is not what it should be.
        """
        from autoloader_sdk._http.address import Address
        from autoloader_sdk._http.transport import SyncTransport

        url, auth_string = apart(url, Secret.of(auth_string))  # from here on no traceback shows it
        config = settings(url, auth_string, timeout=timeout, ca=ca, proxy=proxy)
        super().__init__(SyncTransport(Address(config, PREFECT), transport))

    def close(self) -> None:
        """Give back what it holds. Later calls: ClientClosed."""
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncPrefect(_Nouns[Async]):
    """A client whose calls are awaited. It may be used from several event loops, one after the other."""

    _link: AsyncTransport

    def __init__(
        self,
        url: str | None = None,
        auth_string: str | Secret | None = None,
        *,
        timeout: float | None = None,
        ca: str | os.PathLike[str] | None = None,
        proxy: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """As of `Prefect`."""
        from autoloader_sdk._http.address import Address
        from autoloader_sdk._http.async_transport import AsyncTransport

        url, auth_string = apart(url, Secret.of(auth_string))  # from here on no traceback shows it
        config = settings(url, auth_string, timeout=timeout, ca=ca, proxy=proxy)
        super().__init__(AsyncTransport(Address(config, PREFECT), transport))

    async def close(self) -> None:
        """Give back what it holds. Later calls: ClientClosed."""
        await self._link.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
