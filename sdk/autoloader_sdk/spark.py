"""A Spark Connect session to a cluster, from the place where the SDK runs."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from autoloader_sdk.config import Secret
from autoloader_sdk.errors import AutoloaderError, MissingExtra, NotFound

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.connect.session import SparkSession


#: By this name Spark itself knows a token of Spark Connect, from version 4.0 on.
TOKEN_VARIABLE = "SPARK_CONNECT_AUTHENTICATE_TOKEN"  # noqa: S105 - a name

_sessions: dict[tuple[str, str, str | None], SparkSession] = {}
_lock = threading.Lock()


def session(url: str | None, *, token: str | Secret | None = None, catalog: str | None = None) -> SparkSession:
    """A Spark Connect session at `url` (`sc://host:port`); in a process one for each URL, token and catalog.

    Args:
        url: what the service knows of the cluster; it holds no token.
        token: what lets one in; without it that of `SPARK_CONNECT_AUTHENTICATE_TOKEN`, if set. It travels over TLS,
            unless the URL says `use_ssl=false`.
        catalog: made the current one.

    Raises:
        AutoloaderError: there is no URL to connect to, or nothing of the kind answers there.
        UnsupportedSpark: Spark there is neither 3.5 nor 4.x.
        MissingExtra: pyspark is not installed. One that is too old is an AutoloaderError.
    """
    if not url:
        raise AutoloaderError(
            "the service names no Spark Connect address (spark_connect_url) for this cluster. A service that runs on "
            "the Spark of its own machine never does: there, Client.local(home) with its home folder reads the table"
        )
    try:
        import pyspark.sql.connect.session  # it asks for what an installation may lack
    except ImportError as missing:
        raise MissingExtra("a session with Spark", "spark") from missing
    if tuple(map(int, pyspark.__version__.split(".")[:2])) < (3, 5):
        raise AutoloaderError(
            f"pyspark {pyspark.__version__} is installed, and a session takes 3.5 or newer: "
            "pip install 'autoloader-sdk[spark]'"
        )
    secret = Secret.of(token)
    token = None  # no traceback shows it
    if secret is None or not secret.reveal():
        secret = Secret(os.environ.get(TOKEN_VARIABLE, ""))
    key = (url, hashlib.sha256(secret.reveal().encode()).hexdigest(), catalog)
    with _lock:
        found = _sessions.get(key)
        if found is None or found.is_stopped:
            try:
                found = _connected(url, secret)
            except Exception as error:
                # grpc's errors pass through pyspark as they are, or not, release by release.
                if not type(error).__module__.startswith(("pyspark.", "grpc")):
                    raise
                from autoloader_sdk.models.cluster import without_token

                details = getattr(error, "details", None)  # grpc's own, as pyspark 3.5 lets it through
                said = str((details() if callable(details) else None) or error)
                # As pyspark 4 shows such an error: what the server, or gRPC, said stands in its second line.
                told = re.search(r'details = "(.+?)"\s*$', said, re.MULTILINE)
                reason = told[1] if told else (said.strip().splitlines() or [type(error).__name__])[0]
                raise AutoloaderError(
                    f"{without_token(url)} could not be reached with Spark Connect: {secret.masked_in(reason)}"
                ) from None
            if catalog:
                found.catalog.setCurrentCatalog(catalog)
            _sessions[key] = found
    return found


def with_token(url: str, token: Secret) -> str:
    """The URL as pyspark takes it: a token in it demands TLS, and travels as a header where the URL goes without.

    What the service has masked in it is left out: its own token is no business of ours.
    """
    url = re.sub(r";[^;=]+=[^;]*\*\*\*[^;]*", "", url)
    if not token.reveal():
        return url
    separator = "" if url.endswith((";", "/;")) else ";" if "/;" in url else "/;"
    plain = re.search(r";use_ssl=false(;|$)", url, re.IGNORECASE)
    # A slash would end the path, before which pyspark takes no parameters.
    given = quote(token.reveal(), safe="")
    return f"{url.rstrip('/') if separator == '/;' else url}{separator}" + (
        f"authorization=Bearer%20{given}" if plain else f"token={given}"
    )


def _connected(url: str, token: Secret) -> SparkSession:
    from pyspark.sql.connect.session import SparkSession as ConnectSession

    from autoloader_sdk.spark35 import adapt

    # Has `pyspark.sql.functions` make columns for Connect, as the builder would.
    os.environ.setdefault("SPARK_CONNECT_MODE_ENABLED", "1")
    # Not by the builder: its `getOrCreate` gives the first session of the process, whatever URL it is asked for.
    made: SparkSession = ConnectSession(connection=with_token(url, token))
    _be_impatient(made.client)
    adapt(made)
    return made


def _be_impatient(client: Any) -> None:
    """About 8 s until a server that is away is an error; the client's own policy tries for over 150 s."""
    try:
        from pyspark.sql.connect.client.retries import DefaultPolicy
    except ModuleNotFoundError:  # pyspark 3.5
        client._retry_policy.update(max_retries=6, max_backoff=2000)  # noqa: SLF001 - it has no other place for it
    else:
        client.set_retry_policies([DefaultPolicy(max_retries=6, max_backoff=2000)])


def read_table(spark: SparkSession, catalog: str, database: str, table: str) -> DataFrame:
    """The table as it is now.

    Raises:
        NotFound: there is no such table.
    """
    name = quoted_table(catalog, database, table)
    if not spark.catalog.tableExists(name):
        raise NotFound(
            f"there is no table {name}: the first run of its ingestion makes it, unless it was there and was dropped"
        )
    spark.catalog.refreshTable(name)  # Iceberg's catalog keeps a table for 30 s: without this, old rows
    return spark.table(name)


def quoted_table(catalog: str, database: str, table: str) -> str:
    """The table's name as Spark SQL reads it, whatever characters it holds."""
    return ".".join(map(identifier, (catalog, database, table)))


def identifier(name: str) -> str:
    """A name as Spark SQL takes it, whatever it holds. Nothing else quotes names, here or in the service."""
    return "`" + name.replace("`", "``") + "`"
