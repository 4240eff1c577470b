"""An application on a free port of 127.0.0.1, in a thread of this process: what is between a client and it is real."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from tests.chaos.waiting import until

_SECONDS = 30.0


@contextmanager
def listening(app: Any, **options: Any) -> Iterator[str]:
    """The URL of `app`, for as long as the block lasts; `options` are uvicorn's."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="off", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="listening", daemon=True)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive(), "the application listens", _SECONDS)
        assert server.started, "it could not listen"
        port = server.servers[0].sockets[0].getsockname()[1]
        scheme = "https" if config.is_ssl else "http"
        yield f"{scheme}://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(_SECONDS)
        assert not thread.is_alive(), "it does not end"


def nobody() -> str:
    """A URL where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"
