"""The first word with a Spark server: which version it is, or in plain words why nothing of the kind answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from autoloader_sdk.errors import UnsupportedSpark
from autoloader_sdk.spark35 import adapt
from autoloader_server.spark.errors import SparkUnavailable, SparkUnsupported

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

# What gRPC says of a server that it does not get to, and what it means.
_WHY = (
    (
        r"DNS resolution failed|Name or service not known|errors? resolving|address lookup failed",
        "its host name is not known: look at the URL",
    ),
    (r"Connection refused|ECONNREFUSED", "nothing listens there: look at the host and the port, or start the server"),
    (
        r"Ssl handshake|SSL_ERROR|WRONG_VERSION_NUMBER|CERTIFICATE_VERIFY",
        "the TLS handshake failed: where the server speaks without TLS, write `;use_ssl=false` into the cluster's URL",
    ),
    (
        r"http1\.x server|HTTP/1|[Uu]nexpected HTTP|Failed parsing HTTP/2",
        "what answers there is no Spark Connect server",
    ),
    (
        r"[Ss]ocket closed|Connection reset|recvmsg|Endpoint closing|GOAWAY|empty address list",
        "what answers there hangs up: it may be no Spark Connect server, or want TLS (`;use_ssl=true` in the URL)",
    ),
)


def greet(session: SparkSession, where: str, seconds: float) -> str:
    """The server's version, after the session was made to speak as that version does.

    Args:
        session: one that has not been used yet.
        where: the server as messages call it.
        seconds: how long the server may take to answer.

    Raises:
        SparkUnavailable: no Spark answers; the message says what does, or what is wrong.
        SparkUnsupported: it is a version that we cannot speak to.

    """
    client: Any = session.client
    # Not `session.version`: that call may take for ever.
    request = client._analyze_plan_request_with_metadata()  # noqa: SLF001
    request.spark_version.SetInParent()
    try:
        for attempt in client._retrying():  # noqa: SLF001
            with attempt:
                client._stub.AnalyzePlan(request, metadata=client._builder.metadata(), timeout=seconds)  # noqa: SLF001
        return adapt(session)
    except UnsupportedSpark as error:
        raise SparkUnsupported(f"{where}: {error}") from error
    except Exception as error:
        failed = next((each for each in _chain(error) if callable(getattr(each, "code", None))), None)
        if failed is None:
            raise
        raise SparkUnavailable(f"{where} {_sentence(failed, seconds)}") from error


def _sentence(error: Any, seconds: float) -> str:
    status = str(getattr(error.code(), "name", ""))
    details = str(error.details() or "")
    if status in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return "refuses the token: give the right one in the URL, `;token=…`, or by the cluster's setting `token`."
    if status == "DEADLINE_EXCEEDED":
        return (
            f"did not answer within {seconds:.0f} s: look at the host and the port, at what stands between, and "
            "whether the server wants TLS."
        )
    if status in ("UNIMPLEMENTED", "NOT_FOUND"):
        return "is reached, but what answers there is no Spark Connect server."
    why = next((meaning for pattern, meaning in _WHY if re.search(pattern, details)), None)
    told = f"cannot be reached: {why}." if why else "does not answer."
    return f"{told} gRPC said: {details[:300] or status}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
