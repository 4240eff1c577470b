"""Where everything begins: a client of a service, and the nouns hung on it.

    client = Client("https://autoloader.example.org", token="…")   # a service somewhere
    client = Client.local()                                          # one in this process

Without arguments the address and the token are those of `AUTOLOADER_URL` and `AUTOLOADER_TOKEN`, or of a profile
(`config`), read at the moment when the client is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from autoloader_sdk._http.endpoint import Async, Call, L, Request, Resource, Root, Sync, call
from autoloader_sdk.clusters import Clusters
from autoloader_sdk.config import Config, Secret, load
from autoloader_sdk.ingestions import Ingestions
from autoloader_sdk.models import Health, ServiceInfo
from autoloader_sdk.runs import Runs
from autoloader_sdk.tokens import Tokens

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection
    from pathlib import Path
    from types import TracebackType

    import httpx

    from autoloader_sdk._http.async_transport import AsyncTransport
    from autoloader_sdk._http.transport import SyncTransport
    from autoloader_sdk.code.files import Where
    from autoloader_sdk.code.plan import Entry, Plan
    from autoloader_sdk.prefect import AsyncPrefect, Prefect


class _Nouns(Root[L]):
    """What both clients have."""

    @property
    def config(self) -> Config:
        """The address, the token (masked) and the rest, each with where it came from.

        >>> Client("https://autoloader.example.org", "s3cret").config.url
        'https://autoloader.example.org'
        """
        return self._link.address.config

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
    def diff(self, *files: Where, credentials: bool = False) -> Call[Plan]:
        """What would have to be done for the service to have what the files say; nothing is changed.

        Args:
            files: YAML files, folders of them, open texts; one ingestion a document (docs/ingestions-as-code.md).
            credentials: also send those of which only the names can be compared.

        Raises:
            Invalid: the files have faults; `fields` has each, with file and line.
            MissingExtra: PyYAML is not installed.
        """
        from autoloader_sdk.code.apply import diff

        return (yield from diff(files, credentials=credentials))

    @call
    def apply(
        self,
        *files: Where,
        dry_run: bool = False,
        prune: Collection[str] = (),
        credentials: bool = False,
        on_plan: Callable[[Plan], object] | None = None,
        on_done: Callable[[Entry], object] | None = None,
    ) -> Call[Plan]:
        """Make and change ingestions until the service has what the files say; the plan, with what became of each.

        Args:
            files: As for `diff`. What a file does not say has its default, but for credentials, which then stay.
            dry_run: Only the plan.
            prune: Names or ids of ingestions that are in no file and are deleted; their tables stay.
            credentials: also send those of which only the names can be compared.
            on_plan: Is given the plan before anything is changed; what it raises ends it there.
            on_done: Is given each entry once it is done, or failed.

        Raises:
            Invalid: the files have faults; nothing was changed.
            ApplyFailed: some could not be done; all others were.
            MissingExtra: PyYAML is not installed.
        """
        from autoloader_sdk.code.apply import apply

        return (
            yield from apply(
                self._link,
                files,
                dry_run=dry_run,
                prune=prune,
                credentials=credentials,
                on_plan=on_plan,
                on_done=on_done,
            )
        )

    @call
    def export(self, folder: str | os.PathLike[str], *names: str, force: bool = False) -> Call[list[Path]]:
        """Write a file for each ingestion, or for each of those named; returns the files.

        Args:
            folder: It is made where it is not there. Files in it that have the same content are left alone.
            names: Names or ids.
            force: Write over files that hold something else.

        Raises:
            AutoloaderError: such a file is there, or a name is several ingestions'; nothing was written.
            MissingExtra: PyYAML is not installed.
        """
        from autoloader_sdk.code.export import export

        return (yield from export(folder, names, force=force))

    @call
    def info(self) -> Call[ServiceInfo]:
        """The service's name and version.

        >>> client.info().name
        'autoloader'
        """
        return (yield Request("GET", "/")).read(ServiceInfo)

    @call
    def health(self) -> Call[Health]:
        """Whether the service and its database are well.

        >>> client.health().status
        'healthy'
        """
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
        from autoloader_sdk._http.address import Address
        from autoloader_sdk._http.transport import SyncTransport

        token = Secret.of(token)  # from here on no traceback shows it
        config = load(base_url, token, profile=profile, timeout=timeout, ca=ca, proxy=proxy)
        super().__init__(SyncTransport(Address(config), transport))

    @classmethod
    def local(cls, home: str | os.PathLike[str] | None = None, **settings: Any) -> Self:
        """A client over a service in this process, with all its state in the folder `home`.

        `home` is `AUTOLOADER_HOME` unless given; `settings` are the service's, as `autoloader settings` lists
        them. The service lives as long as the process: at its end, or at the end of a `with` block, a run
        that goes on is waited for, and Ctrl-C leaves it to the next start.

            >>> with Client.local(folder / "home") as laptop:
            ...     laptop.health().status
            'healthy'

        Raises:
            MissingExtra: the service is not installed.
        """
        from autoloader_sdk.local import sync_link

        client = cls.__new__(cls)
        Resource.__init__(client, sync_link(home, settings))
        return client

    @property
    def prefect(self) -> Prefect:
        """A client of the Prefect server of PREFECT_API_URL, with this one's time-out and certificates; closed with it.

        Raises:
            AutoloaderError: that is not set.
        """
        return self._link.prefect()

    def close(self) -> None:
        """Give back what it holds; a local client first waits for its runs. Later calls: ClientClosed."""
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._link.close(wait=not isinstance(error, KeyboardInterrupt))


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
        """As of `Client`."""
        from autoloader_sdk._http.address import Address
        from autoloader_sdk._http.async_transport import AsyncTransport

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
    def prefect(self) -> AsyncPrefect:
        """A client of the Prefect server of PREFECT_API_URL, with this one's time-out and certificates; closed with it.

        Raises:
            AutoloaderError: that is not set.
        """
        return self._link.prefect()

    async def close(self) -> None:
        """Give back what it holds; a local client first waits for its runs. Later calls: ClientClosed."""
        await self._link.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._link.close(wait=not isinstance(error, KeyboardInterrupt))
