"""Clusters: where Spark runs. They are configured by settings; `local` is always there."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, Any

from autoloader_sdk.models import ClusterData, ConnectionTest
from autoloader_server.engine.needs import (
    has_catalog,
    has_extensions,
    iceberg_version,
    lacking,
    without_catalog,
    without_extensions,
)
from autoloader_server.security.redact import redact
from autoloader_server.services.errors import NotFound
from autoloader_server.settings import LOCAL_CATALOG, LOCAL_CLUSTER, ClusterSettings
from autoloader_server.spark.errors import SparkError, SparkUnavailable, first_line
from autoloader_server.spark.sessions import connect, release

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

    from autoloader_server.service import Service

# Less than the 30 s for which a client waits: its user is to read why, and not that nobody answered.
_TEST_SECONDS = 20.0
_HELLO_SECONDS = 10.0
_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def find(service: Service) -> list[ClusterData]:
    """The local cluster, then the configured ones."""
    return [_local(service), *(_configured(service, each) for each in service.settings.clusters)]


def get(service: Service, cluster_id: str) -> ClusterData:
    """One cluster; raises NotFound."""
    found = next((each for each in find(service) if each.id == cluster_id), None)
    if found is None:
        raise NotFound(f"cluster {cluster_id} not found")
    return found


def test_connection(service: Service, cluster_id: str) -> ConnectionTest:
    """Connect, starting the local Spark where it is not there, and say what was found, or why nothing was.

    Bounded in time: a cluster has 30 s for all of it. Raises NotFound.
    """
    cluster = get(service, cluster_id)
    configured = service.cluster(cluster_id)
    try:
        if configured is None:
            return _look(service.spark.session(), cluster)
        return _within(_TEST_SECONDS, configured.remote(), lambda session: _look(session, cluster))
    except Exception as error:
        # Our own sentences stand for themselves.
        kind = "" if isinstance(error, SparkError | ValueError) else f"{type(error).__name__}: "
        reason = redact(f"{kind}{first_line(error)}")
        return ConnectionTest(status="failed", cluster_id=cluster_id, message=reason, catalog=cluster.catalog)


def _within(seconds: float, url: str, ask: Callable[[SparkSession], ConnectionTest]) -> ConnectionTest:
    """What `ask` answers of a session of its own. Raises SparkUnavailable where that takes too long."""
    opened: list[SparkSession] = []
    answer: Future[ConnectionTest] = Future()

    def connect_and_ask() -> None:
        try:
            opened.append(connect(url, seconds=_HELLO_SECONDS, retries=0))
            answer.set_result(ask(opened[0]))
        except BaseException as error:
            answer.set_exception(error)

    Thread(target=connect_and_ask, daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        raise SparkUnavailable(f"it was reached, but did not answer all questions within {seconds:.0f} s") from None
    finally:
        for session in opened:
            release(session)


def _look(session: SparkSession, cluster: ClusterData) -> ConnectionTest:
    found = ConnectionTest(
        status="success",
        cluster_id=cluster.id,
        spark_version=session.version,
        available_memory_gb=_memory_gb(session),
        catalog=cluster.catalog,
    )
    if cluster.catalog is not None:
        _look_at_iceberg(session, cluster.catalog, found)
        if found.missing:
            found.status, found.message = "failed", "; ".join(found.missing)
    return found


def _look_at_iceberg(session: SparkSession, catalog: str, found: ConnectionTest) -> None:
    """Fill in the version of the catalog's Iceberg, or what is missing for it."""
    version = found.spark_version or ""
    if not has_catalog(session, catalog):
        found.missing.append(without_catalog(catalog, version))
        return
    try:
        found.iceberg_version = iceberg_version(session, catalog)
    except Exception as error:
        text = str(error)
        found.missing.append(
            lacking(text, version) or f"the catalog {catalog!r} is no Iceberg catalog that works: {first_line(error)}"
        )
        return
    if not has_extensions(session, catalog):
        found.missing.append(without_extensions(version))


def _memory_gb(session: Any) -> float | None:
    """GiB that the cluster gives to an executor (the local one: to all of it); None where it does not say."""
    key = "spark.driver.memory" if session.conf.get("spark.master", "").startswith("local") else "spark.executor.memory"
    text = (session.conf.get(key, None) or "").strip().lower().removesuffix("b")
    if not text:
        return None
    number, unit = (text[:-1], text[-1]) if text[-1] in _UNITS else (text, "m")
    return round(float(number) * _UNITS[unit] / 2**30, 2)


def _local(service: Service) -> ClusterData:
    remote = service.settings.spark_remote
    return ClusterData.model_validate(
        {
            "id": LOCAL_CLUSTER,
            "name": "Local Spark" if remote is None else "Spark Connect",
            "status": "running" if service.spark.started else "not_started",
            "workers": 1,
            "dbu_per_worker": 0.0,
            "spark_connect_url": None if remote is None else redact(remote.get_secret_value()),
            "pricing": {"dbu_rate": 0.0},
            "catalog": LOCAL_CATALOG if remote is None else None,
        }
    )


def _configured(service: Service, cluster: ClusterSettings) -> ClusterData:
    return ClusterData.model_validate(
        {
            "id": cluster.id,
            "name": cluster.name or cluster.id,
            "status": "running" if service.in_use(cluster.id) else "configured",
            "workers": cluster.workers,
            "dbu_per_worker": cluster.dbu_per_worker,
            "spark_connect_url": redact(cluster.url),
            "pricing": {"dbu_rate": cluster.dbu_rate},
            "catalog": cluster.catalog,
        }
    )
