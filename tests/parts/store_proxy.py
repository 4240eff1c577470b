"""What stands before an object store and passes requests on, until it is told to answer in the store's stead.

with proxied(seaweed) as proxy:
    credentials = {**bucket.credentials, "endpoint_url": proxy.url}
    proxy.answer = EXPIRED                          # to everybody
    proxy.meant = lambda asked: asked.by_spark      # or to Spark alone

A signature covers the host that the client has asked: it is passed on, so that the store finds it right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.parts.object_stores import ObjectStore

_PASSED_ON = ("content-length", "content-type", "content-range", "etag", "last-modified", "accept-ranges")


@dataclass(frozen=True)
class Answer:
    """An error as S3 writes it; without a status the connection is closed."""

    status: int | None
    code: str
    message: str
    headers: tuple[tuple[str, str], ...] = ()


EXPIRED = Answer(400, "ExpiredToken", "The provided token has expired.")
ELSEWHERE = Answer(
    301,
    "PermanentRedirect",
    "The bucket you are attempting to access must be addressed using the specified endpoint.",
    (("x-amz-bucket-region", "eu-central-1"),),
)
GONE = Answer(None, "", "")
# The store's own answer, and the connection is closed in the middle of it.
BROKEN = Answer(None, "broken", "")
SLOW_DOWN = Answer(503, "SlowDown", "Please reduce your request rate.")


class Asked(NamedTuple):
    """A request, by its method, its path with the query, and who says to have sent it."""

    method: str
    path: str
    agent: str

    @property
    def by_spark(self) -> bool:
        return "aws-sdk-java" in self.agent

    @property
    def reads(self) -> bool:
        """Whether it reads an object, which is neither listed nor looked up by it."""
        return self.method == "GET" and "?" not in self.path


def everything(asked: Asked) -> bool:
    return True


class Proxy:
    """`answer` is given instead of the store's where it is `meant`; `met` are the requests that it was given to."""

    def __init__(self, store: str) -> None:
        self.store = urlsplit(store).netloc
        self.url = ""
        self.clear()

    def clear(self) -> None:
        """Pass everything on again."""
        self.answer: Answer | None = None
        self.meant: Callable[[Asked], bool] = everything
        self.met: list[Asked] = []


@contextmanager
def proxied(store: ObjectStore) -> Iterator[Proxy]:
    """A proxy on a free port of 127.0.0.1, while the block lasts."""
    proxy = Proxy(store.url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            answer = proxy.answer
            asked = Asked(self.command, self.path, self.headers.get("User-Agent", ""))
            met = answer is not None and proxy.meant(asked)
            if met:
                proxy.met.append(asked)
            if met and answer is not None and answer is not BROKEN:
                self.instead(answer)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            there = HTTPConnection(proxy.store, timeout=60)
            there.request(self.command, self.path, body, dict(self.headers))
            found = there.getresponse()
            content = found.read()
            self.send_response(found.status)
            for name, value in found.getheaders():
                if name.lower() in _PASSED_ON and not (name.lower() == "content-length" and self.command != "HEAD"):
                    self.send_header(name, value)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if met else content)
            self.close_connection = self.close_connection or met
            there.close()

        def instead(self, answer: Answer) -> None:
            self.close_connection = True
            if answer.status is None:
                return
            content = (
                f'<?xml version="1.0"?><Error><Code>{answer.code}</Code><Message>{answer.message}</Message></Error>'
            ).encode()
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = pass_on  # noqa: N815 - as http.server looks them up

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - of http.server
            """Nothing is written."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
