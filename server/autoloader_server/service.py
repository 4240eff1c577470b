"""The composition root: what one process of the service holds, opened and closed in one place."""

from __future__ import annotations

import copy
import logging
import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING

from autoloader_server.db.engine import Database, sqlite_url
from autoloader_server.security import redact as redaction
from autoloader_server.security.credentials import resolve
from autoloader_server.security.secrets import SecretBox
from autoloader_server.settings import LOCAL_CLUSTER, ClusterSettings, Settings, unknown_variables

if TYPE_CHECKING:
    from autoloader_server.engine.untold import Untold
    from autoloader_server.services.queue import RunQueue
    from autoloader_server.spark.sessions import SparkSessions

_log: logging.Logger = redaction.logger(__name__)
_LAST_WORD_SECONDS = 10.0  # for the runs of a service that closes; Kubernetes kills after 30 s


class LedgerUnavailable(ValueError):
    """The database does not open, or is of a newer version."""


@dataclass
class Service:
    """The parts that every use case takes what it needs from. Opening one starts no Spark."""

    settings: Settings
    database: Database
    ledger_id: str
    secrets: SecretBox
    spark: SparkSessions
    closing: Event = field(default_factory=Event)
    _clusters: dict[str, SparkSessions] = field(default_factory=dict)
    _queue: RunQueue | None = None
    _lock: Lock = field(default_factory=Lock)

    @classmethod
    def open(cls, settings: Settings, *, takes_up_runs: bool = True) -> Service:
        """Make the home folder (mode 0700), bring the database up to date, and take up the runs that wait.

        Without `takes_up_runs` there is no queue: runs that wait are left to others, and none can be asked for.

        Raises ValueError where a setting cannot work, LedgerUnavailable where the database cannot be used.
        """
        from autoloader_server.db.migrate import ledger_id
        from autoloader_server.services.queue import RunQueue
        from autoloader_server.spark.sessions import SparkSessions

        for sentence in unknown_variables():
            _log.warning("%s", sentence)
        assert settings.secrets_key_file is not None
        remote = settings.spark_remote.get_secret_value() if settings.spark_remote else None
        database = open_database(settings)
        try:
            service = cls(
                settings=settings,
                database=database,
                ledger_id=ledger_id(database),
                secrets=SecretBox(settings.secrets_key, settings.secrets_key_file),
                spark=SparkSessions(settings.home, remote, idle_seconds=settings.spark_idle_seconds),
            )
            if takes_up_runs:
                service._queue = RunQueue(service)
                service._queue.start()
        except BaseException:
            database.close()
            raise
        return service

    def of_tenant(self, tenant: str) -> Service:
        """The same service, as if its database held this tenant's rows alone."""
        other = copy.copy(self)
        other.database = self.database.of_tenant(tenant)
        return other

    @property
    def home(self) -> Path:
        return self.settings.home

    @property
    def queue(self) -> RunQueue:
        """Where the runs of this process are carried out."""
        assert self._queue is not None
        return self._queue

    def untold_end(self, run_id: str, lease_token: str | None) -> Untold | None:
        """How a run of this process ended, where the ledger could not be told yet."""
        return None if self._queue is None else self._queue.untold(run_id, lease_token)

    def cluster(self, cluster_id: str | None) -> ClusterSettings | None:
        """The configured cluster of that id; None is the local one, which also stands in for unknown ids."""
        return next((each for each in self.settings.clusters if each.id == cluster_id), None)

    def spark_of(self, cluster_id: str | None) -> SparkSessions:
        """The sessions of the cluster that an ingestion with this `cluster_id` runs on."""
        from autoloader_server.spark.sessions import SparkSessions

        cluster = self.cluster(cluster_id)
        if cluster is None or cluster.id == LOCAL_CLUSTER:
            return self.spark
        with self._lock:
            if cluster.id not in self._clusters:
                self._clusters[cluster.id] = SparkSessions(self.home, partial(_remote, cluster))
            return self._clusters[cluster.id]

    def on_local_spark(self, cluster_id: str | None) -> bool:
        """Whether an ingestion with this `cluster_id` runs on the Spark server of this machine."""
        cluster = self.cluster(cluster_id)
        return (cluster is None or cluster.id == LOCAL_CLUSTER) and self.spark.is_local

    def in_use(self, cluster_id: str) -> bool:
        """Whether this process holds a session on a configured cluster."""
        return cluster_id in self._clusters and self._clusters[cluster_id].started

    def credentials_of(self, encrypted: bytes | None) -> dict[str, str]:
        """What to read an ingestion's source with, as it is now. Raises CredentialMissing or SecretsKeyError."""
        return resolve(self.secrets.decrypt(encrypted)) if encrypted else {}

    def close(self) -> None:
        """Stop taking up runs and let go of Spark and the database.

        Runs that are going are interrupted, say so and end; one that takes too long is settled by the next run, as
        after a kill.
        """
        self.closing.set()
        if self._queue is not None:
            self._queue.close()
        for sessions in (self.spark, *self._clusters.values()):
            sessions.close()
        try:
            if self._queue is not None:
                if not self._queue.wait_idle(_LAST_WORD_SECONDS):
                    _log.warning("some runs did not end in time; the next ones finish their work")
                self._queue.tell_ends()
        finally:
            self.database.close()


def open_database(settings: Settings) -> Database:
    """The ledger that `settings` name, with this version's tables in it.

    Raises LedgerUnavailable where it does not open, or was made by a newer version.
    """
    from sqlalchemy.exc import ArgumentError, DatabaseError

    from autoloader_server.db.migrate import migrate

    _make_home(settings.home)
    if settings.database_url is None:
        # For this user alone, whatever the folder's mode; its log and its index inherit it.
        os.close(os.open(settings.home / "autoloader.db", os.O_CREAT | os.O_RDWR, 0o600))
    try:
        database = Database(
            settings.database_url.get_secret_value()
            if settings.database_url
            else sqlite_url(settings.home / "autoloader.db")
        )
    except ArgumentError:
        # Its own message would show the URL, and with it the password.
        raise LedgerUnavailable(
            "setting database_url: not a URL that SQLAlchemy knows, such as postgresql+psycopg://user@host/name"
        ) from None
    redaction.redact.register([database.url.password])
    try:
        migrate(database)
    except RuntimeError as error:
        database.close()
        raise LedgerUnavailable(str(error)) from error
    except DatabaseError as error:
        database.close()
        shown = database.url.render_as_string(hide_password=True)
        raise LedgerUnavailable(redaction.redact(f"the ledger {shown} does not open: {error.orig}")) from error
    return database


def _make_home(home: Path) -> None:
    """A folder for this user alone. One that was there and holds something else keeps its mode."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not any(home.iterdir()):
            home.chmod(0o700)
    except OSError as error:
        raise ValueError(
            f"the home folder {home} cannot be used: {error.strerror}. Name another one by AUTOLOADER_HOME."
        ) from error


def _remote(cluster: ClusterSettings) -> str:
    from autoloader_server.spark.errors import SparkUnavailable

    try:
        return cluster.remote()
    except ValueError as error:
        raise SparkUnavailable(str(error)) from error
