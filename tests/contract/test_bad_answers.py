"""What is between a client and its service, and goes wrong: each over a real socket, each one clear error."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator
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
from tests.parts.answering import older
from tests.parts.listening import listening
from tests.parts.older_service import older_service

from autoloader_sdk import AsyncClient, Client, errors, runs
from autoloader_sdk.prefect import AsyncPrefect, Prefect

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


def listed(url: str, *, awaited: bool, ca: Path | None = None, proxy: str | None = None) -> list[Any]:
    """What a client of either kind gets, which is closed then."""
    if not awaited:
        with Client(url, TOKEN, ca=ca, proxy=proxy) as client:
            return client.ingestions.list()

    async def ask() -> list[Any]:
        async with AsyncClient(url, TOKEN, ca=ca, proxy=proxy) as client:
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


def test_a_login_in_front_of_a_service_is_told() -> None:
    answer = http("302 Found", b"", "Location: https://sso.example.org/login")
    with raw(answer) as (url, _), pytest.raises(errors.ApiError, match="as a login in front of it does"):
        listed(url, awaited=False)


def test_a_path_that_nobody_knows_is_told_with_the_address() -> None:
    with older_service() as (_, url), pytest.raises(errors.NotFound, match="base_url is another address"):
        listed(f"{url}/autoloader", awaited=False)


def test_a_user_in_the_address_lets_one_in_and_stands_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with raw(http("200 OK", b"[]")) as (url, asked):
        assert Client(url.replace("//", "//me:p4ss%21@")).ingestions.list() == []
    assert f"Authorization: Basic {b64encode(b'me:p4ss!').decode()}".encode() in asked[0]
    assert url in caplog.text
    assert "p4ss" not in caplog.text


@pytest.mark.parametrize("timeout", [0, -1, True, "30"])
def test_a_timeout_is_a_number_of_seconds(timeout: Any) -> None:
    for make in (Client, AsyncClient):
        with pytest.raises(errors.AutoloaderError, match="timeout is a number of seconds above 0"):
            make("http://127.0.0.1:1", timeout=timeout)


def test_what_was_never_answered_has_the_id_under_which_the_service_may_know_it() -> None:
    with raw(b"") as (url, asked), pytest.raises(errors.ConnectionFailed) as caught:
        Client(url).ingestions.list()
    assert f"X-Request-ID: {caught.value.request_id}".encode() in asked[-1]


class Restarting:
    """A service with one run, which is away for so many answers and then back."""

    def __init__(self, away: int, log_away: int = 0) -> None:
        self.away = away
        self.log_away = log_away
        self.deleted = 0

    async def answer(self, request: Request) -> Response:
        path = request.url.path.removeprefix("/api/v1")
        if request.method == "DELETE":
            self.deleted += 1
            gone = JSONResponse({"detail": "Ingestion not found"}, 404)
            return Response(status_code=503) if self.deleted <= self.away else gone
        run = {"id": "r", "ingestion_id": ID, "status": "running"}
        if path.endswith("/logs"):
            self.log_away -= 1
            line = {"id": 1, "message": "loaded", "level": "info", "timestamp": "2026-11-28T12:00:00Z"}
            return Response(status_code=503) if self.log_away >= 0 else JSONResponse([line])
        if path.endswith("/runs/r"):
            self.away -= 1
            if self.away >= 0:
                return Response(status_code=503)
            run["status"] = "success"
        return JSONResponse(
            {f"/ingestions/{ID}": {"id": ID, "name": "n"}, f"/ingestions/{ID}/runs": [run]}.get(path, run)
        )

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self.answer, methods=["GET", "POST", "DELETE"])])


def test_a_run_is_watched_through_a_restart_of_its_service() -> None:
    for watch in (
        lambda run: run.wait(poll=0.01).status,
        lambda run: list(run.follow(poll=0.01))[-1].run.status,
    ):
        with listening(Restarting(away=9).app()) as url, Client(url) as client:
            (run,) = client.ingestions.get(ID).runs()
            assert watch(run) == "success"


def test_a_log_is_followed_through_a_restart_and_no_longer_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(Restarting(away=9, log_away=9).app()) as url, Client(url) as client:
        (run,) = client.ingestions.get(ID).runs()
        assert {line.message for line in run.logs(follow=True, poll=0.01)} == {"loaded"}
    monkeypatch.setattr(runs, "_OUTAGE", 0.05)
    with listening(Restarting(away=0, log_away=10_000).app()) as url, Client(url) as client:
        (run,) = client.ingestions.get(ID).runs()
        with pytest.raises(errors.ServerError):
            list(run.logs(follow=True, poll=0.01))


def test_an_outage_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(Restarting(away=10_000).app()) as url, Client(url) as client:
        (run,) = client.ingestions.get(ID).runs()
        with pytest.raises(errors.WaitTimeout, match="is not ready") as late:
            run.wait(timeout=0.1, poll=0.01)
        assert (late.value.run, type(late.value.__cause__)) == (run, errors.ServerError)
        monkeypatch.setattr(runs, "_OUTAGE", 0.05)
        for watch in (run.wait, lambda: list(run.follow(poll=0.01))):
            with pytest.raises(errors.ServerError) as caught:
                watch()
            assert caught.value.__notes__ == [
                f"run r may go on: client.runs.get('{ID}', 'r').wait() waits for it again"
            ]


def test_a_wait_ends_in_time_where_the_service_hangs() -> None:
    async def answer(request: Request) -> Response:
        run = {"id": "r", "ingestion_id": ID, "status": "running"}
        path = request.url.path.removeprefix("/api/v1")
        if path.endswith("/runs/r"):
            await asyncio.sleep(60)
            run["status"] = "success"
        return JSONResponse(
            {f"/ingestions/{ID}": {"id": ID, "name": "n"}, f"/ingestions/{ID}/runs": [run]}.get(path, run)
        )

    app = Starlette(routes=[Route("/{path:path}", answer)])
    with listening(app, timeout_graceful_shutdown=0) as url, Client(url, timeout=600) as client:
        (run,) = client.ingestions.get(ID).runs()
        with pytest.raises(errors.WaitTimeout, match="did not answer in time") as late:
            run.wait(timeout=0.1)
        assert late.value.run is run


@pytest.mark.parametrize("lost", [1, 0])
def test_a_deletion_whose_answer_was_lost_is_done(lost: int) -> None:
    with listening(Restarting(away=lost).app()) as url, Client(url) as client:
        ingestion = client.ingestions.get(ID)
        if lost:
            assert ingestion.delete() is None
        else:
            with pytest.raises(errors.NotFound):
                ingestion.delete()


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
        with pytest.raises(errors.ConnectionFailed, match=r"certificate of .* is not trusted .*SSL_CERT_FILE") as it:
            listed(url, awaited=False)
        assert not it.value.outage, "nobody waits for it"
        assert listed(url, awaited=False, ca=certificate) == []
        assert listed(url, awaited=True, ca=certificate) == []
        # The certificate is not for this name.
        with pytest.raises(errors.ConnectionFailed, match="is not trusted"):
            listed(url.replace("127.0.0.1", "localhost"), awaited=False, ca=certificate)
    assert ssl.create_default_context().verify_mode == ssl.CERT_REQUIRED


def test_certificates_that_a_client_trusts_hold_for_its_prefect_too(
    certified: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = certified

    async def answer(_request: Request) -> Response:
        return JSONResponse("3.9.1")

    app = Starlette(routes=[Route("/{path:path}", answer)])
    with listening(app, ssl_certfile=str(certificate), ssl_keyfile=str(key)) as url:
        monkeypatch.setenv("PREFECT_API_URL", f"{url}/api")
        with Client("http://127.0.0.1:9", ca=certificate) as client:
            assert client.prefect.version() == "3.9.1"
        with Client("http://127.0.0.1:9") as other, pytest.raises(errors.ConnectionFailed, match="is not trusted"):
            other.prefect.version()

        async def awaited() -> str:
            async with AsyncClient("http://127.0.0.1:9", ca=certificate) as client:
                return await client.prefect.version()

        assert asyncio.run(awaited()) == "3.9.1"


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_client_that_was_made_before_a_fork_works_on_both_sides(
    kind: type[Client | AsyncClient], tmp_path: Path
) -> None:
    with older_service() as (service, url):
        client = kind(url)
        with Client(url) as maker:
            maker.ingestions.create(name="before", source=tmp_path, format="csv", destination="lake.b.t")
        assert _names(client, 1) == ["before"]
        assert _on_both_sides(lambda: _names(client, 50)) == (["before"] * 50, ["before"] * 50)
        assert len(service.ingestions) == 1
        if isinstance(client, Client):
            client.close()
        else:
            asyncio.run(client.close())


def _names(client: Client | AsyncClient, times: int) -> list[str]:
    """What the service has, asked for so often."""
    if isinstance(client, Client):
        return [client.ingestions.list()[0].name for _ in range(times)]

    async def ask() -> list[str]:
        return [(await client.ingestions.list())[0].name for _ in range(times)]

    return asyncio.run(ask())


def _on_both_sides(ask: Callable[[], Any]) -> tuple[Any, Any]:
    """What is answered here, and in a child that is forked first: both at once, over what had been one connection."""
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    child = fork.Process(target=_in_the_child, args=(ask, sender))
    child.start()
    mine = ask()
    assert receiver.poll(30)
    theirs = receiver.recv()
    child.join(30)
    assert child.exitcode == 0
    return mine, theirs


def _in_the_child(ask: Callable[[], Any], sender: Any) -> None:
    sender.send(ask())
    sender.close()
    # Whatever this process has inherited is its parent's to end.
    os._exit(0)


@pytest.mark.parametrize("awaited", [False, True], ids=["plain", "awaited"])
def test_a_client_of_prefect_that_was_made_before_a_fork_works_on_both_sides(*, awaited: bool) -> None:
    with older(lambda _method, path: "3.9.1" if path.endswith("/admin/version") else None) as url:
        client = AsyncPrefect(f"{url}/api") if awaited else Prefect(f"{url}/api")
        assert _version(client) == "3.9.1"
        assert _on_both_sides(lambda: _version(client)) == ("3.9.1", "3.9.1")


def _version(client: Prefect | AsyncPrefect) -> str:
    if isinstance(client, Prefect):
        return client.version()

    async def ask() -> str:
        return await client.version()

    return asyncio.run(ask())


@pytest.mark.parametrize("awaited", [False, True], ids=["plain", "awaited"])
def test_a_token_stands_in_no_log(caplog: pytest.LogCaptureFixture, *, awaited: bool) -> None:
    caplog.set_level(logging.DEBUG)
    with raw(http("503 Service Unavailable", b"{}")) as (url, asked), pytest.raises(errors.ServerError):
        listed(url, awaited=awaited)
    assert len(asked) == 4
    assert all(TOKEN.encode() in request for request in asked)
    assert "/api/v1/ingestions" in caplog.text
    assert TOKEN not in caplog.text


def test_a_closed_client_says_so(tmp_path: Path) -> None:
    with older_service() as (_, url):
        with Client(url) as client:
            made = client.ingestions.create(name="n", source=tmp_path, format="csv", destination="lake.b.t")
        for call in (client.health, client.ingestions.list, made.run, made.reload):
            with pytest.raises(errors.ClientClosed):
                call()

        async def awaited() -> None:
            async with AsyncClient(url) as client:
                found = await client.ingestions.get("n")
            for call in (client.health, client.ingestions.list, found.run, found.reload):
                with pytest.raises(errors.ClientClosed):
                    await call()

        asyncio.run(awaited())


@pytest.mark.parametrize("awaited", [False, True], ids=["plain", "awaited"])
@pytest.mark.parametrize("given", ["argument", "environment"])
def test_a_proxy_is_gone_through_with_its_own_credentials(
    given: str, monkeypatch: pytest.MonkeyPatch, *, awaited: bool
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with raw(http("200 OK", b"[]", "Content-Type: application/json")) as (url, asked):
        proxy = url.replace("://", "://us%40er:pa%3Ass@")
        if given == "environment":
            monkeypatch.setenv("HTTP_PROXY", proxy)
        found = listed("http://service.example.org:8000", awaited=awaited, proxy=proxy if given == "argument" else None)
        assert found == []
    (request,) = asked
    assert request.startswith(b"GET http://service.example.org:8000/api/v1/ingestions HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic " + b64encode(b"us@er:pa:ss") in request
    assert f"Authorization: Bearer {TOKEN}".encode() in request


@pytest.mark.parametrize("awaited", [False, True], ids=["plain", "awaited"])
def test_a_proxy_of_the_environment_is_passed_by_where_it_says_so_and_for_this_machine(
    monkeypatch: pytest.MonkeyPatch, *, awaited: bool
) -> None:
    with raw(http("200 OK", b"[]")) as (proxy, by_proxy), raw(http("200 OK", b"[]")) as (url, asked):
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        listed(url, awaited=awaited)
        assert (len(asked), by_proxy) == (1, [])
        # Another name of this machine, which no list of loopback's names holds.
        elsewhere = url.replace("127.0.0.1", "127.0.0.2")
        listed(elsewhere, awaited=awaited)
        assert len(by_proxy) == 1
        monkeypatch.setenv("NO_PROXY", "127.0.0.2")
        with pytest.raises(errors.ConnectionFailed):  # nobody listens there
            listed(elsewhere, awaited=awaited)
        assert len(by_proxy) == 1
