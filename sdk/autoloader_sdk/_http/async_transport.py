"""The awaited link to a service: sends requests with httpx."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import httpx

from autoloader_sdk._http.address import Address
from autoloader_sdk._http.answers import OURS, closed, failure, read, ready
from autoloader_sdk._http.endpoint import Async, Pause, Reply, Step
from autoloader_sdk._http.retry import NotNow, Tries
from autoloader_sdk.errors import AutoloaderError

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

    from autoloader_sdk.config import Secret
    from autoloader_sdk.prefect import AsyncPrefect


class AsyncTransport(Async):
    """The awaited link. Each event loop has its own connections: one client serves many `asyncio.run`."""

    def __init__(self, address: Address, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.address = address
        self._prefect: AsyncPrefect | None = None
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
            return closed()
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return Reply()
        http = self._http()
        request = http.build_request(**self.address.request_options(step))
        tries = Tries()
        try:
            try:
                response = ready(await http.send(request), self.address.service)
            except (NotNow, httpx.HTTPError) as error:
                first = error
            else:
                return self._read(response)
            tries.failed(first)
            from stamina import retry_context

            async for attempt in retry_context(**tries.options(repeatable=step.repeatable(ours=self._ours))):
                with attempt:
                    if attempt.num == 1:
                        raise first
                    response = ready(await http.send(request), self.address.service)
        except NotNow as last:
            return self._read(last.response, repeated=tries.may_have_done(before=last))
        except httpx.HTTPError as error:
            return failure(error, request, self.address.service, repeated=tries.may_have_done(before=error))
        return self._read(response, repeated=tries.may_have_done())

    def _read(self, response: httpx.Response, *, repeated: bool = False) -> Reply | AutoloaderError:
        self._ours |= OURS in response.headers
        return read(response, self.address.service, repeated=repeated)

    def spark_session(
        self,
        cluster_id: str | None,  # noqa: ARG002 - a local link knows clusters by it
        url: str | None,
        *,
        token: str | Secret | None = None,
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

    def prefect(self) -> AsyncPrefect:
        """A client of the Prefect server of PREFECT_API_URL, the same each time, closed with this link."""
        from autoloader_sdk.prefect import AsyncPrefect

        if self.closed:
            raise closed()
        if self._prefect is None:
            # Not the proxy: it may well be one to the service alone, and Prefect on this machine.
            self._prefect = AsyncPrefect(timeout=self.address.config.timeout, ca=self.address.config.ca)
            self.close_too(self._prefect.close)
        return self._prefect

    def close_too(self, close: Callable[[], Awaitable[object]]) -> None:
        """Have something else closed with this link."""
        self._beside.append(close)
