"""What the steps of one run share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from autoloader_sdk.models import IngestionCreate, Limits
from autoloader_server.db.engine import Database
from autoloader_server.engine import ledger, run_record
from autoloader_server.engine.changes import Change
from autoloader_server.engine.check import Seen
from autoloader_server.engine.errors import CANCELLED, INTERNAL, INTERRUPTED, FileFailure, RunCancelled, RunStopped
from autoloader_server.engine.formats.base import Format
from autoloader_server.engine.iceberg import Table
from autoloader_server.engine.killpoints import reach
from autoloader_server.engine.lease import Lease
from autoloader_server.engine.place import Place
from autoloader_server.engine.quarantine import Quarantine, quarantine_name
from autoloader_server.engine.read import make_format, own_columns
from autoloader_server.engine.sql import TableName
from autoloader_server.spark.sessions import SparkSessions

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import StructType


# A batch whose id another worker has burned is cut again, of the same files.
_MOST_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Ready:
    """A table that can be loaded into: its identity, and its snapshot at this moment."""

    table_id: str
    snapshot_id: int


@dataclass
class Work:
    """One run: its ingestion as it was when the run began, its lease, and its ways to the database and to Spark."""

    database: Database
    sessions: SparkSessions
    home: Path
    ledger_id: str
    run_id: str
    ingestion_id: str
    generation: int
    spec: IngestionCreate
    limits: Limits
    lease: Lease
    created_at: datetime
    closing: Event
    check_beside_bytes: int
    credentials: Callable[[], Mapping[str, str]] = dict
    """The source's credentials; they are decrypted, and their references followed, when they are asked for."""
    retry_of: str | None = None
    deleted: bool = False
    seen_stale: set[str] = field(default_factory=set)
    left_to_others: set[int] = field(default_factory=set)
    too_young: int = 0
    seen: Seen = field(default_factory=Seen)
    # By file: the types that its values need and the table's columns do not have.
    wider: dict[str, list[Change]] = field(default_factory=dict)
    # By file version: why it fails, unless its bad records are told from the good ones.
    refused: dict[int, FileFailure] = field(default_factory=dict)
    # File versions that are read record by record: a value in them may be other than Spark's quick way has it.
    exact: set[int] = field(default_factory=set)
    told_missing: set[str] = field(default_factory=set)
    # Whether a commit has given the table's branches the columns that it had got by hand.
    caught_up: bool = False
    _schema: StructType | None = None
    _waiting: list[int] = field(default_factory=list)
    _rounds: int = 0

    @cached_property
    def spark(self) -> SparkSession:
        """One session for the whole run; its operations carry the run's tag, so that a cancellation can end them."""
        self._check_open()
        step = "starting Spark" if not self.sessions.started else "preparing"
        with self.database.write() as connection:
            run_record.progress(connection, self.run_id, step, spark_job_id=self.tag)
        spark = self.sessions.session()
        spark.addTag(self.tag)
        return spark

    def interrupt(self) -> None:
        """End what Spark is doing for this run."""
        if self.sessions.started:
            self.sessions.session().interruptTag(self.tag)

    @contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """What Spark does in this block is not ended by a cancellation."""
        tagged = self.tag in self.spark.getTags()
        if tagged:
            self.spark.removeTag(self.tag)
        try:
            yield
        finally:
            if tagged:
                self.spark.addTag(self.tag)

    @property
    def tag(self) -> str:
        return f"autoloader-{self.run_id}"

    @cached_property
    def table(self) -> Table:
        return Table(self.spark, self.table_name)

    @property
    def schema(self) -> StructType:
        """The table's columns."""
        if self._schema is None:
            self._schema = self.table.schema()
        return self._schema

    def schema_changed(self) -> None:
        self._schema = None

    @cached_property
    def table_name(self) -> TableName:
        return TableName.of(self.spec.destination)

    @cached_property
    def format(self) -> Format:
        return make_format(self.spec, self.place)

    @cached_property
    def place(self) -> Place:
        """Where the files are. Raises CredentialMissing or SecretsKeyError where there is no way to them."""
        return Place.of(self.spec.source, self.credentials, self.note, spark_is_local=self.sessions.is_local)

    @property
    def follows(self) -> bool:
        """Whether the table's columns are changed for what files bring."""
        return self.spec.effective_on_schema_change in ("append_new_columns", "sync_all_columns")

    @property
    def replaces_changed(self) -> bool:
        """Whether the rows of a file that changed after it was loaded are replaced."""
        return self.spec.source.on_changed_file == "replace"

    @property
    def lineage(self) -> list[str]:
        """The columns of the table that are ours."""
        return own_columns(self.spec)

    @cached_property
    def quarantine(self) -> Quarantine:
        return Quarantine(Table(self.spark, quarantine_name(self.table_name)), self.ledger_id)

    @property
    def sets_aside(self) -> bool:
        """Whether bad records go to a quarantine table."""
        return self.spec.on_bad_record == "quarantine"

    @property
    def written_to(self) -> list[Table]:
        """The tables that this ingestion's batches are written to; asks the catalog."""
        aside = self.sets_aside and self.quarantine.ours() is not None
        return [self.table, self.quarantine.table] if aside else [self.table]

    def fail(self, failures: Sequence[FileFailure]) -> None:
        """Write down that files cannot be loaded."""
        if failures:
            with self.database.write() as connection:
                self.lease.hold_run(connection)
                ledger.fail_files(connection, self.run_id, self.ingestion_id, failures)

    def check_progress(self, waiting: list[int]) -> None:
        """Raises RunStopped where the same files wait again and again: then something is wrong that no round mends."""
        self._rounds = self._rounds + 1 if waiting == self._waiting else 0
        self._waiting = waiting
        if self._rounds > _MOST_ROUNDS:
            raise RunStopped(
                f"{len(waiting)} files were tried {_MOST_ROUNDS} times in this run and are neither loaded nor failed",
                INTERNAL,
            )

    def step(self, name: str, **counts: int) -> None:
        """Say what the run is doing, for whoever watches it."""
        with self.database.write() as connection:
            run_record.progress(connection, self.run_id, name, **counts)

    def note(self, sentence: str) -> None:
        with self.database.write() as connection:
            run_record.note(connection, self.run_id, sentence)

    def reach(self, point: str) -> None:
        """Between two steps: where it is killed, and notices a lost lease, a cancellation, a service that closes."""
        reach(point, self.home)
        self.lease.check()
        if self.lease.cancelled.is_set():
            raise RunCancelled(CANCELLED)
        self._check_open()

    def _check_open(self) -> None:
        if self.closing.is_set():
            raise RunStopped("the service is closing", INTERRUPTED)
