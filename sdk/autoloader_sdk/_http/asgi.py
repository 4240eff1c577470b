"""An application in this process as a transport for httpx: same requests, same answers, no port.

The application lives on one event loop in a thread of its own. So the plain client works inside Jupyter's
running loop, and an asynchronous client may come from any loop, or from several one after the other.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from typing import TYPE_CHECKING, Any

import httpx

from autoloader_sdk.errors import AutoloaderError

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Future


class LoopThread:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._pid = os.getpid()
        self._end = asyncio.Event()
        # Not `run_forever`: the threads on which the application's plain functions run live as long as the loop's main
        # task; without one they are made anew for each request.
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self._end.wait(),), name="autoloader-service", daemon=True
        )
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, httpx.Response]) -> Future[httpx.Response]:
        """Run a coroutine there."""
        if os.getpid() != self._pid:
            work.close()
            raise AutoloaderError("this client was opened before the process forked; open one in each process")
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except BaseException:
            # Of one that never began Python would complain, after a Ctrl-C too.
            if inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
                work.close()
            raise

    def stop(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
        self._loop.close()


class _Application:
    def __init__(self, app: Any, thread: LoopThread) -> None:
        # An exception of the application is an answer (500), as over a network.
        self._asgi = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self._thread = thread

    def start(self, request: httpx.Request) -> Future[httpx.Response]:
        return self._thread.submit(self._answer(request))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = await self._asgi.handle_async_request(request)
        body = b"".join([part async for part in answer.aiter_raw()])
        return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(body))


class PlainASGI(httpx.BaseTransport):
    """For `httpx.Client`."""

    def __init__(self, app: Any, thread: LoopThread) -> None:
        self._application = _Application(app, thread)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._application.start(request)
        try:
            return answer.result()
        except BaseException:  # Ctrl-C in a notebook: the application need not go on with it
            answer.cancel()
            raise


class AwaitedASGI(httpx.AsyncBaseTransport):
    """For `httpx.AsyncClient`."""

    def __init__(self, app: Any, thread: LoopThread) -> None:
        self._application = _Application(app, thread)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await asyncio.wrap_future(self._application.start(request))
