"""A service behind a port that answers as a test says, and says no version: an older one, or something else."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def older(answers: Callable[[str, str], Any], date: str | None = None) -> Iterator[str]:
    """The URL of a service that says no version; `answers` has the JSON for a method and a path, or None: 404."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            body = answers(self.command, self.path.partition("?")[0])
            sent = json.dumps({"detail": "Not Found"} if body is None else body).encode()
            self.send_response_only(404 if body is None else 200)
            self.send_header("Date", date or self.date_time_string())
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = do_DELETE = handle_one  # noqa: N815 - as http.server calls them

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Nothing: stderr is the test's."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)
