"""Clusters: where Spark runs. They are configured by settings; `local` is always there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autoloader_sdk.models import ClusterData, ConnectionTest
from autoloader_server.security.redact import redact
from autoloader_server.services.errors import NotFound
from autoloader_server.settings import LOCAL_CLUSTER, ClusterSettings
from autoloader_server.spark.errors import first_line

if TYPE_CHECKING:
    from autoloader_server.service import Service

_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def find(service: Service) -> list[ClusterData]:
    """The local cluster, then the configured ones."""
    return [_local(service), *(_configured(each) for each in service.settings.clusters)]


def get(service: Service, cluster_id: str) -> ClusterData:
    """One cluster; raises NotFound."""
    found = next((each for each in find(service) if each.id == cluster_id), None)
    if found is None:
        raise NotFound(f"cluster {cluster_id} not found")
    return found


def test_connection(service: Service, cluster_id: str) -> ConnectionTest:
    """Connect, starting the local Spark where it is not there, and say what was found, or why nothing was.

    Raises NotFound.
    """
    get(service, cluster_id)
    try:
        session = service.spark_of(cluster_id).session()
        version, memory = session.version, _memory_gb(session)
    except Exception as error:
        reason = redact(f"{type(error).__name__}: {first_line(error)}")
        return ConnectionTest(status="failed", cluster_id=cluster_id, message=reason)
    return ConnectionTest(status="success", cluster_id=cluster_id, spark_version=version, available_memory_gb=memory)


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
        }
    )


def _configured(cluster: ClusterSettings) -> ClusterData:
    return ClusterData.model_validate(
        {
            "id": cluster.id,
            "name": cluster.name or cluster.id,
            "status": "configured",
            "workers": cluster.workers,
            "dbu_per_worker": cluster.dbu_per_worker,
            "spark_connect_url": redact(cluster.url),
            "pricing": {"dbu_rate": cluster.dbu_rate},
        }
    )
