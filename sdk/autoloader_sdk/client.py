"""Where everything begins: a client of a service, and the nouns hung on it.

    client = Client("https://autoloader.example.org", token="…")   # a service somewhere
    client = Client.local()                                          # one in this process

Without arguments the address and the token are those of `AUTOLOADER_URL` and `AUTOLOADER_TOKEN`, or of a profile
(`config`), read at the moment when the client is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from autoloader_sdk._http.endpoint import Async, Call, L, Request, Resource, Sync, call
from autoloader_sdk.clusters import Clusters
from autoloader_sdk.config import Config, Secret, load
from autoloader_sdk.ingestions import Ingestions
from autoloader_sdk.models import Health, ServiceInfo
from autoloader_sdk.runs import Runs
from autoloader_sdk.tokens import Tokens

if TYPE_CHECKING:
    import os
    from types import TracebackType

    import httpx

    from autoloader_sdk._http.transport import AsyncTransport, SyncTransport


class _Nouns(Resource[L]):
    """What both clients have."""

    @property
    def ingestions(self) -> Ingestions[L]:
        """Configured loads."""
        return Ingestions(self._link)

    @property
    def runs(self) -> Runs[L]:
        """Their executions."""
        return Runs(self._link)

    @property
    def clusters(self) -> Clusters[L]:
        """Where Spark runs."""
        return Clusters(self._link)

    @property
    def tokens(self) -> Tokens[L]:
        """Who may use the service, and for what."""
        return Tokens(self._link)

    @call
    def info(self) -> Call[ServiceInfo]:
        """The service's name and version."""
        return (yield Request("GET", "/")).read(ServiceInfo)

    @call
    def health(self) -> Call[Health]:
        """Whether the service and its database are well."""
        return (yield Request("GET", "/health")).read(Health)


class Client(_Nouns[Sync]):
    """A client that waits for each answer. As a context manager it closes itself at the end of the block."""

    _link: SyncTransport

    def __init__(
        self,
        base_url: str | None = None,
        token: str | Secret | None = None,
        *,
        profile: str | None = None,
        timeout: float | None = None,
        ca: str | os.PathLike[str] | None = None,
        proxy: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """What is not given comes from the environment, or from a profile; `config` says what came from where.

        Args:
            base_url: The service's address, such as `https://autoloader.example.org`.
            token: What lets one in.
            profile: The name of a profile in the user's file of them.
            timeout: Seconds for one answer, 30 unless said.
            ca: A file of certificates to trust beside the usual ones, PEM.
            proxy: The proxy to go through; without it those of the environment (HTTPS_PROXY, NO_PROXY).
            transport: An httpx transport, for special networks.

        Raises:
            AutoloaderError: there is no address, or something here is not what it should be.
        """
        from autoloader_sdk._http.transport import Address, SyncTransport

        token = Secret.of(token)  # from here on no traceback shows it
        config = load(base_url, token, profile=profile, timeout=timeout, ca=ca, proxy=proxy)
        super().__init__(SyncTransport(Address(config), transport))

    @classmethod
    def local(cls, home: str | os.PathLike[str] | None = None, **settings: Any) -> Self:
        """A client over a service in this process, with all its state in the folder `home`.

        `home` is `AUTOLOADER_HOME` unless given; `settings` are the service's, as `autoloader settings` lists
        them. The service lives as long as the process: at its end, or at the end of a `with` block, a run
        that goes on is waited for, and Ctrl-C leaves it to the next start.

        Raises:
            MissingExtra: the service is not installed.
        """
        from autoloader_sdk.local import sync_link

        client = cls.__new__(cls)
        Resource.__init__(client, sync_link(home, settings))
        return client

    @property
    def config(self) -> Config:
        """The address, the token (masked) and the rest, each with where it came from."""
        return self._link.address.config

    def close(self) -> None:
        """Give back what it holds; a local client first waits for its runs. Later calls: ClientClosed."""
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._link.close(wait=not isinstance(error, KeyboardInterrupt))

    def __repr__(self) -> str:
        link = getattr(self, "_link", None)  # in a traceback it may be half made
        return f"<Client {link.address!r}>" if link else "<Client>"


class AsyncClient(_Nouns[Async]):
    """A client whose calls are awaited. It may be used from several event loops, one after the other."""

    _link: AsyncTransport

    def __init__(
        self,
        base_url: str | None = None,
        token: str | Secret | None = None,
        *,
        profile: str | None = None,
        timeout: float | None = None,
        ca: str | os.PathLike[str] | None = None,
        proxy: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """What is not given comes from the environment, or from a profile; `config` says what came from where.

        Args:
            base_url: The service's address, such as `https://autoloader.example.org`.
            token: What lets one in.
            profile: The name of a profile in the user's file of them.
            timeout: Seconds for one answer, 30 unless said.
            ca: A file of certificates to trust beside the usual ones, PEM.
            proxy: The proxy to go through; without it those of the environment (HTTPS_PROXY, NO_PROXY).
            transport: An httpx transport, for special networks.

        Raises:
            AutoloaderError: there is no address, or something here is not what it should be.
        """
        from autoloader_sdk._http.transport import Address, AsyncTransport

        token = Secret.of(token)  # from here on no traceback shows it
        config = load(base_url, token, profile=profile, timeout=timeout, ca=ca, proxy=proxy)
        super().__init__(AsyncTransport(Address(config), transport))

    @classmethod
    def local(cls, home: str | os.PathLike[str] | None = None, **settings: Any) -> Self:
        """As `Client.local`; opening it takes a moment and is not awaited.

        Raises:
            MissingExtra: the service is not installed.
        """
        from autoloader_sdk.local import async_link

        client = cls.__new__(cls)
        Resource.__init__(client, async_link(home, settings))
        return client

    @property
    def config(self) -> Config:
        """The address, the token (masked) and the rest, each with where it came from."""
        return self._link.address.config

    async def close(self) -> None:
        """Give back what it holds; a local client first waits for its runs. Later calls: ClientClosed."""
        await self._link.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._link.close(wait=not isinstance(error, KeyboardInterrupt))

    def __repr__(self) -> str:
        link = getattr(self, "_link", None)  # in a traceback it may be half made
        return f"<AsyncClient {link.address!r}>" if link else "<AsyncClient>"
