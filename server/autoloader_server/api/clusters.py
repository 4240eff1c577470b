"""Clusters over HTTP."""

from fastapi import APIRouter

from autoloader_sdk.models import ClusterData, ConnectionTest
from autoloader_server.api.dependencies import TheService
from autoloader_server.services import clusters

router = APIRouter(prefix="/clusters", tags=["clusters"])


@router.get("", summary="Where Spark runs")
def find(service: TheService) -> list[ClusterData]:
    return clusters.find(service)


@router.get("/{cluster_id}", summary="One cluster")
def get(cluster_id: str, service: TheService) -> ClusterData:
    return clusters.get(service, cluster_id)


@router.post("/{cluster_id}/test-connection", summary="Connect to it, and say what was found")
def test_connection(cluster_id: str, service: TheService) -> ConnectionTest:
    return clusters.test_connection(service, cluster_id)
