"""The service inside this process: `Client.local()`.

It is alive as long as its process. A script that ends during a run waits for it with one line on stderr;
Ctrl-C leaves the work to the next start, which finishes it.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures.thread  # noqa: F401 - its exit hook has to be there before ours, see below
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoloader_sdk._http.address import Address
from autoloader_sdk._http.asgi import AwaitedASGI, LoopThread, PlainASGI
from autoloader_sdk._http.async_transport import AsyncTransport
from autoloader_sdk._http.transport import SyncTransport
from autoloader_sdk.config import Config
from autoloader_sdk.errors import MissingExtra
from autoloader_sdk.notebook.progress import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql.connect.session import SparkSession

    from autoloader_sdk.config import Secret

#: What requests to the embedded service are addressed to; it never leaves the process.
_CONFIG = Config("http://localhost", timeout=None, origins={"url": "this process", "timeout": "this process"})
_QUIET_SECONDS = 2.0

_Key = tuple[str | None, tuple[tuple[str, str], ...], int]
_open: dict[_Key, Embedded] = {}
_lock = threading.Lock()


class Embedded:
    """A service of this process, shared by the clients that were opened on the same folder and settings."""

    def __init__(self, key: _Key, home: Path | None, settings: Mapping[str, Any]) -> None:
        try:
            from autoloader_server.embedded import open_service
        except ModuleNotFoundError as missing:
            raise MissingExtra("Client.local()", "local") from missing
        self.service: Any = open_service(home, **settings)
        self.thread = LoopThread()
        self._key = key
        self.users = 0

    @classmethod
    def of(cls, home: str | os.PathLike[str] | None, settings: Mapping[str, Any]) -> Embedded:
        """The open one for these, or a new one.

        Raises:
            MissingExtra: the service is not installed.
        """
        folder = None if home is None else Path(home).expanduser().absolute()
        where = os.environ.get("AUTOLOADER_HOME") if folder is None else str(folder)
        key = (where, tuple(sorted((name, repr(value)) for name, value in settings.items())), os.getpid())
        with _lock:
            if key not in _open:
                _open[key] = cls(key, folder, settings)
            shared = _open[key]
            shared.users += 1
            return shared

    def spark_session(self, cluster_id: str | None, catalog: str | None) -> SparkSession:
        """The user's session on a cluster, with a current catalog; without one the service's own, to read a table."""
        if not catalog:
            shared: SparkSession = self.service.spark_session(cluster_id)
            return shared
        made: SparkSession = self.service.users_session(cluster_id)
        made.catalog.setCurrentCatalog(catalog)
        return made

    def release(self, *, wait: bool = True) -> None:
        """One client less; the last one waits for what runs, and closes the service."""
        with _lock:
            self.users -= 1
            if self.users:
                return
            _open.pop(self._key, None)
        self.close(wait=wait)

    def close(self, *, wait: bool = True) -> None:
        """Wait for what runs, unless told not to; then close the service, which interrupts what still runs."""
        active = self.service.active_runs()
        if active:
            named = f"run{'s' if len(active) > 1 else ''} {', '.join(active)}"
            if not (wait and self._wait(named)):
                say(f"left {named}: the next start takes the work up")
        try:
            self.service.close()
        finally:
            self.thread.stop()

    def _wait(self, named: str) -> bool:
        try:
            # A run that has ended still counts rows per file for a moment: not worth a word.
            quiet_until = time.monotonic() + _QUIET_SECONDS
            while self.service.active_runs() and time.monotonic() < quiet_until:
                time.sleep(0.05)
            if self.service.active_runs():
                say(f"waiting for {named}; Ctrl-C leaves the work to the next start")
            while self.service.active_runs():
                time.sleep(0.05)
        except KeyboardInterrupt:
            return False
        return True


class _LocalSync(SyncTransport):
    within = True

    def __init__(self, embedded: Embedded) -> None:
        super().__init__(Address(_CONFIG), PlainASGI(embedded.service.app, embedded.thread))
        self._embedded = embedded

    def spark_session(
        self,
        cluster_id: str | None,
        url: str | None,  # noqa: ARG002 - the service has the session
        *,
        token: str | Secret | None = None,  # noqa: ARG002
        catalog: str | None = None,
    ) -> SparkSession:
        return self._embedded.spark_session(cluster_id, catalog)

    def close(self, *, wait: bool = True) -> None:
        if not self.closed:
            super().close()
            self._embedded.release(wait=wait)


class _LocalAsync(AsyncTransport):
    within = True

    def __init__(self, embedded: Embedded) -> None:
        address = Address(_CONFIG)
        super().__init__(address, AwaitedASGI(embedded.service.app, embedded.thread))
        self._embedded = embedded

    def spark_session(
        self,
        cluster_id: str | None,
        url: str | None,  # noqa: ARG002 - the service has the session
        *,
        token: str | Secret | None = None,  # noqa: ARG002
        catalog: str | None = None,
    ) -> SparkSession:
        return self._embedded.spark_session(cluster_id, catalog)

    async def close(self, *, wait: bool = True) -> None:
        if not self.closed:
            await super().close()
            await asyncio.to_thread(self._embedded.release, wait=wait)


def sync_link(home: str | os.PathLike[str] | None, settings: Mapping[str, Any]) -> SyncTransport:
    """The plain link to the embedded service of `home`."""
    return _LocalSync(Embedded.of(home, settings))


def async_link(home: str | os.PathLike[str] | None, settings: Mapping[str, Any]) -> AsyncTransport:
    """The awaited link to the embedded service of `home`."""
    return _LocalAsync(Embedded.of(home, settings))


def _at_exit() -> None:
    """The script is over: wait for what it started, unless it was ended by Ctrl-C."""
    interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1")
    for key, embedded in list(_open.items()):
        if key[-1] == os.getpid():  # a forked child holds the table of its parent
            embedded.close(wait=not interrupted)


# A run needs thread pools (gRPC's, its own). At exit the interpreter first calls the hooks of `threading`, in
# reverse order; that of concurrent.futures, registered when it was imported (above), refuses further work.
# Only then are threads joined and ordinary atexit hooks called. So the waiting has to happen in a hook of the
# first kind, registered after theirs. There is no public name for it (tried on Python 3.11 to 3.13).
getattr(threading, "_register_atexit", atexit.register)(_at_exit)
