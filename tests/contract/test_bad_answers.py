"""What is between a client and its service, and goes wrong: each over a real socket, each one clear error."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any

import pytest
import stamina
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from tests.parts.listening import listening
from tests.parts.older_service import older_service

from autoloader_sdk import AsyncClient, Client, errors

TOKEN = "autoloader_" + "s" * 43
ID = "ing_0123456789ab"


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """Four tries, as always, without the pauses between them."""
    with stamina.set_testing(True, attempts=4, cap=True):
        yield


@contextmanager
def raw(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers whatever it is asked with these bytes, and hangs up; and what it was asked."""
    asked: list[bytes] = []

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            asked.append(self.request.recv(65_536))
            self.wfile.write(answer)

    class Server(ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()
        thread.join()


def http(status: str, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {size}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def listed(url: str, *, awaited: bool, ca: Path | None = None) -> list[Any]:
    """What a client of either kind gets, which is closed then."""
    if not awaited:
        with Client(url, TOKEN, ca=ca) as client:
            return client.ingestions.list()

    async def ask() -> list[Any]:
        async with AsyncClient(url, TOKEN, ca=ca) as client:
            return await client.ingestions.list()

    return asyncio.run(ask())


LOGIN = b"<!DOCTYPE html><html><body><form>Please log in</form></body></html>"
ANSWERS = {
    "a login page": (http("200 OK", LOGIN, "Content-Type: text/html"), errors.ApiError, "web page"),
    "half a JSON": (http("200 OK", b'[{"id": "ing_', "Content-Type: application/json"), errors.ApiError, "cut off"),
    "less than it said": (http("200 OK", b"[", length=9), errors.ConnectionFailed, "could not be reached"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", errors.ConnectionFailed, "could not be reached"),
    "nothing": (b"", errors.ConnectionFailed, "could not be reached"),
    "another service": (http("200 OK", b'{"message": "hello"}'), errors.ApiError, "should be a list"),
    "500 without a body": (http("500 Internal Server Error"), errors.ServerError, "Internal Server Error"),
    "429": (http("429 Too Many Requests", b'{"detail": "slowly"}'), errors.TooMany, "slowly"),
    "503 of a proxy": (http("503 Service Unavailable", LOGIN), errors.ServerError, "not ready"),
    "401": (http("401 Unauthorized", b'{"detail": "no"}'), errors.Unauthorized, "AUTOLOADER_TOKEN"),
    "403": (http("403 Forbidden", b'{"detail": "needs admin"}'), errors.Forbidden, "needs admin"),
}


@pytest.mark.parametrize("which", ANSWERS)
@pytest.mark.parametrize("awaited", [False, True], ids=["plain", "awaited"])
def test_each_bad_answer_is_one_clear_error(which: str, awaited: bool) -> None:
    answer, kind, says = ANSWERS[which]
    with raw(answer) as (url, asked):
        with pytest.raises(kind, match=says) as caught:
            listed(url, awaited=awaited)
        assert type(caught.value) is kind
        assert caught.value.method == "GET"
        assert caught.value.url == f"{url}/api/v1/ingestions"
        assert TOKEN not in str(caught.value)
    assert asked


def test_nobody_is_there() -> None:
    with raw(b"") as (url, _):
        pass
    with pytest.raises(errors.ConnectionFailed, match="is the service running, and the address right") as caught:
        Client(url).health()
    assert isinstance(caught.value, ConnectionError)


def test_a_slow_service_is_a_timeout_and_asked_once() -> None:
    async def slow(request: Request) -> Response:
        asked.append(request.url.path)
        await asyncio.sleep(30)
        return Response()

    asked: list[str] = []
    # It is not waited for at the end.
    app = Starlette(routes=[Route("/{path:path}", slow, methods=["GET", "POST"])])
    with (
        listening(app, timeout_graceful_shutdown=0) as url,
        pytest.raises(errors.Timeout, match="longer timeout") as it,
    ):
        Client(url, timeout=0.3).ingestions.list()
    assert isinstance(it.value, TimeoutError)
    assert asked == ["/api/v1/ingestions"]


def test_a_redirect_to_another_host_is_told_and_the_token_stays() -> None:
    heard: list[dict[str, str]] = []

    async def other(request: Request) -> Response:
        heard.append(dict(request.headers))
        return JSONResponse([])

    with listening(Starlette(routes=[Route("/{path:path}", other)])) as elsewhere:

        async def moved(_request: Request) -> Response:
            return RedirectResponse(f"{elsewhere}/api/v1/ingestions", 307)

        told = pytest.raises(errors.ApiError, match=f"the service has moved to {elsewhere}")
        with listening(Starlette(routes=[Route("/{path:path}", moved)])) as url, told:
            listed(url, awaited=False)
    assert heard == []


def test_what_a_later_service_says_is_read(tmp_path: Path) -> None:
    """A status and fields that nobody here knows."""
    run = {"id": "r", "ingestion_id": ID, "status": "reticulating", "splines": [1], "metrics": {"splines": 3}}
    later = {"id": ID, "name": "n", "status": "hibernating", "source": {"type": "tape", "reel": 3}, "new": {"a": 1}}

    async def answer(request: Request) -> Response:
        path = request.url.path.removeprefix("/api/v1")
        return JSONResponse({f"/ingestions/{ID}": later, f"/ingestions/{ID}/runs": [run]}.get(path, run))

    with listening(Starlette(routes=[Route("/{path:path}", answer)])) as url, Client(url) as client:
        ingestion = client.ingestions.get(ID)
        assert (ingestion.status, ingestion.source.type) == ("hibernating", "tape")
        assert ingestion.data.model_extra == {"new": {"a": 1}}
        (found,) = ingestion.runs()
        assert (found.status, found.done, found.ok) == ("reticulating", False, False)
        with pytest.raises(errors.WaitTimeout):
            found.wait(timeout=0.05, poll=0.01)
        assert "hibernating" in ingestion._repr_html_()


@pytest.fixture
def certified(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for this machine that nobody knows, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a company of its own")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = tmp_path / "company.pem", tmp_path / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return certificate, private


def test_a_certificate_that_nobody_knows_is_told_and_a_given_one_is_trusted(certified: tuple[Path, Path]) -> None:
    certificate, key = certified

    async def answer(_request: Request) -> Response:
        return JSONResponse([])

    app = Starlette(routes=[Route("/{path:path}", answer)])
    with listening(app, ssl_certfile=str(certificate), ssl_keyfile=str(key)) as url:
        assert url.startswith("https://")
        with pytest.raises(errors.ConnectionFailed, match=r"certificate of .* is not trusted .*SSL_CERT_FILE"):
            listed(url, awaited=False)
        assert listed(url, awaited=False, ca=certificate) == []
        assert listed(url, awaited=True, ca=certificate) == []
        # The certificate is not for this name.
        with pytest.raises(errors.ConnectionFailed, match="is not trusted"):
            listed(url.replace("127.0.0.1", "localhost"), awaited=False, ca=certificate)
    assert ssl.create_default_context().verify_mode == ssl.CERT_REQUIRED


def test_a_client_that_was_made_before_a_fork_works_on_both_sides(tmp_path: Path) -> None:
    with older_service() as (service, url), Client(url) as client:
        client.ingestions.create(name="before", source=tmp_path, format="csv", destination="lake.b.t")
        fork = multiprocessing.get_context("fork")
        receiver, sender = fork.Pipe(duplex=False)
        child = fork.Process(target=_in_the_child, args=(client, sender))
        child.start()
        # Both at once, over what had been one connection.
        mine = [client.ingestions.list()[0].name for _ in range(50)]
        assert receiver.poll(30)
        assert receiver.recv() == ["before"] * 50
        child.join(30)
        assert child.exitcode == 0
        assert mine == ["before"] * 50
        assert len(service.ingestions) == 1


def _in_the_child(client: Client, sender: Any) -> None:
    sender.send([client.ingestions.list()[0].name for _ in range(50)])
    sender.close()
    # Whatever this process has inherited is its parent's to end.
    os._exit(0)


def test_a_closed_client_says_so(tmp_path: Path) -> None:
    with older_service() as (_, url):
        with Client(url) as client:
            made = client.ingestions.create(name="n", source=tmp_path, format="csv", destination="lake.b.t")
        for call in (client.health, client.ingestions.list, made.run, made.reload):
            with pytest.raises(errors.ClientClosed):
                call()
