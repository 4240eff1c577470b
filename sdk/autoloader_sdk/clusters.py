"""Clusters: where Spark runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoloader_sdk._http.endpoint import API, Call, L, Request, Resource, call, quoted
from autoloader_sdk.config import Secret
from autoloader_sdk.listing import Listing
from autoloader_sdk.models import ClusterData, ConnectionTest
from autoloader_sdk.notebook import display

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession


class Cluster(Resource[L]):
    """A Spark cluster that the service knows."""

    def __init__(self, link: L, data: ClusterData) -> None:
        super().__init__(link)
        self.data = data

    @property
    def id(self) -> str:
        """What `cluster_id` of an ingestion refers to."""
        return self.data.id

    @property
    def name(self) -> str:
        """Its name for people."""
        return self.data.name

    @property
    def status(self) -> str:
        """As the service says."""
        return self.data.status

    @call
    def test_connection(self) -> Call[ConnectionTest]:
        """Let the service connect to the cluster and say what it found."""
        reply = yield Request("POST", f"{API}/clusters/{quoted(self.id)}/test-connection", safe=True)
        return reply.read(ConnectionTest)

    def spark(self, *, token: str | Secret | None = None) -> SparkSession:
        """A Spark Connect session on this cluster, from here, with its catalog as the current one.

        Args:
            token: what lets one in; without it that of `SPARK_CONNECT_AUTHENTICATE_TOKEN`, if set.

        Raises:
            MissingExtra: pyspark is not installed.
            UnsupportedSpark: the cluster's Spark is neither 3.5 nor 4.x.
            AutoloaderError: the service names no address of the cluster.
        """
        token = Secret.of(token)  # from here on no traceback shows it
        return self._link.spark_session(self.id, self.data.spark_connect_url, token=token, catalog=self.data.catalog)

    def __repr__(self) -> str:
        return f"<Cluster {self.id} ({self.name}): {self.status}>"

    def _repr_html_(self) -> str:
        return display.cluster_html(self.data)


class Clusters(Resource[L]):
    """The clusters that the service knows."""

    @call
    def get(self, cluster_id: str) -> Call[Cluster[L]]:
        """One cluster.

            >>> client.clusters.get("local").name
            'Local Spark'

        Raises:
            NotFound: the service knows no such cluster.
        """
        reply = yield Request("GET", f"{API}/clusters/{quoted(cluster_id)}")
        return Cluster(self._link, reply.read(ClusterData))

    @call
    def list(self) -> Call[Listing[Cluster[L]]]:
        """All of them.

        >>> [cluster.id for cluster in client.clusters.list()]
        ['local']
        """
        reply = yield Request("GET", f"{API}/clusters")
        return Listing(Cluster(self._link, data) for data in reply.entries(ClusterData))
