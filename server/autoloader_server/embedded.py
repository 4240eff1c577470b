"""The service inside a user's own process: the same application, without a port."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoloader_server.service import Service
from autoloader_server.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI
    from pyspark.sql.connect.session import SparkSession

# The host that an in-process transport sends: the loopback check lets it pass.
BASE_URL = "http://localhost"


class EmbeddedService:
    """A service as alive as its process. Runs are daemon threads: wait for `active_runs()` before leaving."""

    def __init__(self, service: Service) -> None:
        from autoloader_server.app import create_app

        self.service = service
        self.app: FastAPI = create_app(service, embedded=True)

    @property
    def base_url(self) -> str:
        return BASE_URL

    def spark_session(self, cluster_id: str | None = None) -> SparkSession:
        """The session of the cluster (the local one by default), whose Spark is started where it is not."""
        return self.service.spark_of(cluster_id).session()

    def users_session(self, cluster_id: str | None = None) -> SparkSession:
        """A session on the same Spark that is the user's own."""
        return self.service.spark_of(cluster_id).for_user()

    def active_runs(self) -> list[str]:
        """The ids of the runs that this process carries out now or is about to."""
        return self.service.queue.active()

    def wait_idle(self, timeout: float | None = None) -> bool:
        """Wait until no run is active; False where the time was over first. Ctrl-C passes through."""
        return self.service.queue.wait_idle(timeout)

    def close(self) -> None:
        """Let go of Spark and the database; a run that is going is interrupted, and the next one finishes its work."""
        self.service.close()


def open_service(home: Path | None = None, **settings: Any) -> EmbeddedService:
    """Open the state folder `home` (by default `AUTOLOADER_HOME`, else `~/.autoloader`) in this process.

    Further settings by name, as in `autoloader settings`. Raises ValueError where one is wrong.
    """
    if home is not None:
        settings["home"] = home
    return EmbeddedService(Service.open(Settings.load(**settings)))
