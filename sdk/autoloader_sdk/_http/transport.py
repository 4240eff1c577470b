"""The plain link to a service: sends requests with httpx."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx

from autoloader_sdk._http.address import Address
from autoloader_sdk._http.answers import OURS, closed, failure, read, ready
from autoloader_sdk._http.endpoint import Pause, Reply, Step, Sync
from autoloader_sdk._http.retry import NotNow, Tries
from autoloader_sdk.errors import AutoloaderError

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

    from autoloader_sdk.config import Secret
    from autoloader_sdk.prefect import Prefect


class SyncTransport(Sync):
    """The plain link. `transport` replaces the network (an embedded service, a test)."""

    def __init__(self, address: Address, transport: httpx.BaseTransport | None = None) -> None:
        self.address = address
        self._prefect: Prefect | None = None
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
            return closed()
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return Reply()
        request = self._http.build_request(**self.address.request_options(step))
        tries = Tries()
        try:
            try:
                response = ready(self._http.send(request), self.address.service)
            except (NotNow, httpx.HTTPError) as error:
                first = error
            else:
                return self._read(response)
            tries.failed(first)
            from stamina import retry_context

            for attempt in retry_context(**tries.options(repeatable=step.repeatable(ours=self._ours))):
                with attempt:
                    if attempt.num == 1:
                        raise first
                    response = ready(self._http.send(request), self.address.service)
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

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._client.is_closed

    def close(self, *, wait: bool = True) -> None:  # noqa: ARG002 - a local link waits
        """Give the connections back; later calls are errors. `wait`: for the runs of this process, if any."""
        self._client.close()
        while self._beside:
            self._beside.pop()()

    def prefect(self) -> Prefect:
        """A client of the Prefect server of PREFECT_API_URL, the same each time, closed with this link."""
        from autoloader_sdk.prefect import Prefect

        if self.closed:
            raise closed()
        if self._prefect is None:
            # Not the proxy: it may well be one to the service alone, and Prefect on this machine.
            self._prefect = Prefect(timeout=self.address.config.timeout, ca=self.address.config.ca)
            self.close_too(self._prefect.close)
        return self._prefect

    def close_too(self, close: Callable[[], object]) -> None:
        """Have something else closed with this link."""
        self._beside.append(close)
