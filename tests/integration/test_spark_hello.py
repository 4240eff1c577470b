"""What a wrong Spark Connect URL is told: what is wrong with it, in a bounded time."""

from __future__ import annotations

import datetime as dt
import http.server
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from pyspark.sql.connect.client.core import DefaultChannelBuilder
from pyspark.sql.connect.proto import base_pb2, base_pb2_grpc
from pyspark.sql.connect.session import SparkSession

from autoloader_sdk.errors import UnsupportedSpark
from autoloader_sdk.spark35 import adapt, check
from autoloader_server.spark.errors import SparkError, SparkUnavailable, SparkUnsupported
from autoloader_server.spark.sessions import CHANNEL, connect


def refusal(url: str, seconds: float = 10) -> SparkError:
    with pytest.raises(SparkError) as failed:
        connect(url, seconds=seconds, retries=0)
    assert "a-secret" not in str(failed.value)
    return failed.value


@contextmanager
def grpc_server(*handlers: Any, port: int = 0) -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(2))
    for handler in handlers:
        handler(server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


class Answering(base_pb2_grpc.SparkConnectServiceServicer):
    """A Spark Connect service that tells a version, and takes any setting."""

    def __init__(self, version: str) -> None:
        self.version = version

    def AnalyzePlan(self, request: Any, context: Any) -> Any:  # noqa: N802
        answer = base_pb2.AnalyzePlanResponse(session_id=request.session_id)
        answer.spark_version.version = self.version
        return answer

    def Config(self, request: Any, context: Any) -> Any:  # noqa: N802
        return base_pb2.ConfigResponse(session_id=request.session_id)


@contextmanager
def spark_of_version(version: str, port: int = 0) -> Iterator[int]:
    add = base_pb2_grpc.add_SparkConnectServiceServicer_to_server
    with grpc_server(lambda server: add(Answering(version), server), port=port) as at:
        yield at


def test_a_host_that_is_not_known_is_named() -> None:
    error = refusal("sc://no-such-host.invalid:443/;token=a-secret")
    assert isinstance(error, SparkUnavailable)
    assert "sc://no-such-host.invalid:443 cannot be reached: its host name is not known" in str(error)


def test_a_port_on_which_nothing_listens_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = refusal(f"sc://127.0.0.1:{port}")
    assert f"sc://127.0.0.1:{port} cannot be reached: nothing listens there" in str(error)


def test_a_server_that_is_back_is_found_whoever_has_asked_it_in_vain_before() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"sc://127.0.0.1:{port}"
    channel = DefaultChannelBuilder(url, channelOptions=list(CHANNEL)).toChannel()
    ends = time.monotonic() + 4
    while time.monotonic() < ends:
        with pytest.raises(grpc.RpcError):
            channel.unary_unary("/asked/in-vain")(b"", timeout=1)
    with spark_of_version("2.4.8", port):
        assert "2.4.8" in str(refusal(url))
    channel.close()


@pytest.mark.parametrize("parameters", ["", "/;use_ssl=true", "/;token=a-secret"])
def test_something_that_never_answers_is_given_up(parameters: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = refusal(f"sc://127.0.0.1:{silent.getsockname()[1]}{parameters}", seconds=1)
    assert "did not answer within 1 s" in str(error)


def test_a_web_server_is_no_spark() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            error = refusal(f"sc://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
    assert "no Spark Connect server" in str(error)


def test_another_grpc_service_is_no_spark() -> None:
    with grpc_server() as port:
        error = refusal(f"sc://127.0.0.1:{port}")
    assert "what answers there is no Spark Connect server" in str(error)


def test_a_server_without_tls_is_told_of_where_tls_was_asked_for() -> None:
    with spark_of_version("3.5.7") as port:
        error = refusal(f"sc://127.0.0.1:{port}/;token=a-secret")
    assert "TLS" in str(error)
    assert "use_ssl=false" in str(error)


def test_a_server_with_tls_is_told_of_where_none_was_asked_for(tmp_path: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(self_signed(tmp_path))
    context.set_alpn_protocols(["h2"])
    with socket.create_server(("127.0.0.1", 0)) as plain:
        threading.Thread(target=_shake_hands, args=(plain, context), daemon=True).start()
        error = refusal(f"sc://127.0.0.1:{plain.getsockname()[1]}", seconds=5)
    assert "TLS" in str(error)


def _shake_hands(listening: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        try:
            context.wrap_socket(connection, server_side=True).close()
        except OSError:
            connection.close()


@pytest.mark.parametrize("version", ["2.4.8", "3.4.1", "5.0.0", "whatever"])
def test_a_version_that_we_cannot_speak_to_is_named(version: str) -> None:
    with spark_of_version(version) as port:
        error = refusal(f"sc://127.0.0.1:{port}")
    assert isinstance(error, SparkUnsupported)
    assert f"the server is Spark {version}" in str(error)
    assert "3.5 and 4.x" in str(error)


@pytest.mark.parametrize("version", ["3.5.5", "3.5.7-vendor.2", "4.0.1", "4.1.4", "4.2.0-preview"])
def test_versions_in_use_are_spoken_to(version: str) -> None:
    check(version)


def test_only_an_older_server_is_spoken_to_in_the_older_way() -> None:
    for version, older in (("3.5.7", True), ("4.1.4", False)):
        with spark_of_version(version) as port:
            session = SparkSession(connection=f"sc://127.0.0.1:{port}")
            stub = session.client._stub
            assert adapt(session) == adapt(session) == version
            assert (session.client._stub is not stub) is older
            session.client._channel.close()


def test_a_statement_with_what_an_older_server_cannot_take_is_refused_here() -> None:
    with spark_of_version("3.5.7") as port:
        session = SparkSession(connection=f"sc://127.0.0.1:{port}")
        adapt(session)
        with pytest.raises(UnsupportedSpark, match="temporary views"):
            session.sql("SELECT * FROM {numbers}", numbers=session.range(3))
        session.client._channel.close()


def self_signed(folder: Path) -> Path:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "server.pem"
    file.write_bytes(private + certificate)
    return file
