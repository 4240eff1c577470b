"""A source, a ledger and a table of their own, and the question whether they agree in the end."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, select, update
from tests.chaos.reader import Reader
from tests.chaos.source import Content, Source, content
from tests.chaos.waiting import until
from tests.chaos.worker import Ask, Worker, carry_out, settings
from tests.parts.object_stores import Bucket
from tests.parts.sparks import Running

from autoloader_sdk.models import FileStatus, IngestionCreate, IngestionUpdate, SchemaVersion
from autoloader_server.db.locks import lock_ingestion
from autoloader_server.db.tables import batches, processed_files, runs
from autoloader_server.engine import held, iceberg, ledger
from autoloader_server.engine.batch_record import BatchStatus
from autoloader_server.engine.quarantine import quarantine_name
from autoloader_server.engine.sql import TableName
from autoloader_server.service import Service
from autoloader_server.services import ingestions, schema_versions
from autoloader_server.services.clear import clear_processed_files
from autoloader_server.spark.sessions import SparkSessions
from autoloader_server.spark.state import Server, SparkFolder

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

SOURCE_FILE = "_source_file"
START_SECONDS = 150.0
# Within this time a run says that its Spark server has died.
SPARK_DEATH_SECONDS = 30.0


# A table whose numbers are narrower than those that files may bring.
_NARROW = {
    "inference": "manual",
    "schema_json": {
        "type": "struct",
        "fields": [
            {"name": name, "type": kind, "nullable": True, "metadata": {}}
            for name, kind in (("id", "integer"), ("name", "string"), ("amount", "double"))
        ],
    },
}


def expire_history(table: iceberg.Table) -> None:
    """Let nothing lead back from a table's newest snapshot to what was there."""
    name = table.name
    # Iceberg 1.4 takes nothing but a literal.
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    expire = f"older_than => TIMESTAMP '{tomorrow:%Y-%m-%d %H:%M:%S}', retain_last => 1"
    table.spark.sql(f"CALL {name.catalog}.system.expire_snapshots(table => '{name.in_catalog}', {expire})")
    assert len(table.ancestors()) == 1


@dataclass
class Verdict:
    """What is wrong after everything: all of it 0 and empty where nothing is."""

    lost: int = 0
    doubled: int = 0
    partial_reads: int = 0
    faults: list[str] = field(default_factory=list)

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(
            self.lost + other.lost,
            self.doubled + other.doubled,
            self.partial_reads + other.partial_reads,
            self.faults + other.faults,
        )

    @property
    def good(self) -> bool:
        return self == Verdict()


def open_lake(spark: Running) -> SparkSessions:
    """The session by which tests look at tables, on a catalog that is there: its first use makes it."""
    lake = SparkSessions(spark.home, spark.url)
    lake.session().sql("SHOW NAMESPACES IN lake").collect()
    return lake


class World:
    """One ingestion, driven by worker processes that are killed and by runs that finish their work.

    `lake` is the session by which tests look at tables; all worlds of a `spark` share its server. With a bucket its
    files are there, below its name.
    """

    def __init__(
        self,
        lake: SparkSessions,
        spark: Running,
        folder: Path,
        name: str,
        *,
        format_: str = "json",
        seed: int = 0,
        database_url: str | None = None,
        rule: str = "append_new_columns",
        narrow: bool = False,
        sets_aside: bool = False,
        on_changed: str = "hold",
        lineage: bool = True,
        bucket: Bucket | None = None,
    ) -> None:
        self.home = spark.home
        folder.mkdir(parents=True, exist_ok=True)
        self.source = Source(folder / "source" if bucket is None else (bucket, f"{name}/"), format_, seed)
        self.partial: list[str] = []
        self._lake = lake if spark.url is None else SparkSessions(spark.home, spark.url)
        self._has_worked = False
        self.replaces = on_changed == "replace"
        self._spark = spark
        self._folder = folder
        self._url = database_url or f"sqlite:///{folder / 'ledger.db'}"
        self._workers: list[Worker] = []
        self.table_name = TableName("lake", name, "rows")
        spec = IngestionCreate.model_validate(
            {
                "name": name,
                "source": {
                    "type": "local" if bucket is None else "s3",
                    "path": self.source.path,
                    "credentials": bucket.credentials if bucket is not None else None,
                    "on_changed_file": on_changed,
                },
                "format": {"type": format_} | ({"schema": _NARROW} if narrow else {}),
                "destination": {
                    "catalog": "lake",
                    "database": name,
                    "table": "rows",
                    "lineage_columns": [SOURCE_FILE] if lineage else [],
                },
                "on_schema_change": rule,
                "on_bad_record": "quarantine" if sets_aside else "fail",
                # Several batches a run: what died in one must not touch the others.
                "limits": {"max_files_per_batch": 8},
            }
        )
        with self.service() as service:
            self.ingestion_id = ingestions.create(service, spec).id

    @contextmanager
    def service(self) -> Iterator[Service]:
        """A service over this world's ledger in this process. It takes up queued runs, as any other."""
        service = Service.open(settings(self.home, self._url))
        try:
            yield service
        finally:
            service.close()

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Somebody reads meanwhile; what was seen of a file in part is kept in `partial`."""
        reader = Reader(self.home, self.table_name, self._spark.url)
        with reader:
            yield reader
        self.partial += reader.partial(self.source.counts())

    def start(self, kill_at: str | None = None, ask: Ask | None = None, lease_seconds: int | None = None) -> Worker:
        """A worker process that asks for a run, or for something else, and carries it out."""
        self._has_worked = True
        output = self._folder / f"worker-{len(self._workers)}.log"
        worker = Worker.start(self.home, self._url, self.ingestion_id, output, kill_at, ask, lease_seconds)
        self._workers.append(worker)
        return worker

    def kill_at(self, point: str, ask: Ask | None = None) -> None:
        """A worker gets to `point`, and is killed there."""
        worker = self.start(point, ask)
        code = worker.wait()
        assert code == -signal.SIGKILL, f"the worker was not killed at {point}, exit {code}:\n{worker.said()}"

    def stop_at(self, point: str, lease_seconds: int | None = None) -> Worker:
        """A worker gets to `point`, and sleeps until it is woken. Its leases last until `end_leases`, unless told."""
        worker = self.start(f"{point}=stop", lease_seconds=lease_seconds)
        worker.wait_until_stopped()
        return worker

    def end_leases(self, *tables: Table) -> None:
        """All leases on runs and batches (or on one of these only) are over, as after their time."""
        with self.service() as service, service.database.write() as connection:
            for table in tables or (runs, batches):
                connection.execute(
                    update(table)
                    .where(table.c.ingestion_id == self.ingestion_id, table.c.lease_token.is_not(None))
                    .values(lease_expires_at=0.0)
                )

    def clear(self) -> None:
        """The ingestion's processed files are cleared, whatever a worker has begun."""
        with self.service() as service:
            clear_processed_files(service, self.ingestion_id)

    def sleep_while_it_is_cleared(self, point: str) -> None:
        """A worker sleeps at `point` past its lease, wakes up after a clear and a run, and another run follows."""
        sleeper = self.stop_at(point)
        self.end_leases()
        self.clear()
        self.finish()
        sleeper.wake()
        assert sleeper.wait() > 0
        self.finish()

    def stop_somewhere(self, worker: Worker) -> None:
        """Stop a worker wherever it is, but not while it writes to the ledger: nobody else could then."""
        with self.service() as service, service.database.write() as connection:
            lock_ingestion(connection, self.ingestion_id)
            worker.stop()

    def wait_for_a_batch(self) -> None:
        """Wait until some worker has claimed a batch that it has not ended yet."""
        with self.service() as service:
            open_ = select(batches.c.id).where(
                batches.c.ingestion_id == self.ingestion_id, batches.c.status == BatchStatus.OPEN
            )

            def claimed() -> bool:
                with service.database.read() as connection:
                    return connection.execute(open_).first() is not None

            until(claimed, "a batch is claimed", START_SECONDS)

    def kill_spark_at(self, point: str) -> dict[str, Any]:
        """A worker gets to `point`, and Spark is killed; the worker's run, which must end within 30 s."""
        worker = self.start(f"{point}=spark")
        folder = SparkFolder(self.home)

        def serving() -> list[Server]:
            assert not worker.ended, f"the worker ended before {point}:\n{worker.said()}"
            server = folder.server()
            return [server] if server is not None and server.answers() else []

        (server,) = until(serving, "a Spark server answers", START_SECONDS)
        until(lambda: not server.jvm.alive(), f"the Spark server is killed at {point}", START_SECONDS)
        worker.wait(SPARK_DEATH_SECONDS)
        self.bring_spark_back()
        return worker.run()

    def bring_spark_back(self) -> None:
        """Spark was killed: there is another server, or will be when it is needed."""
        self._lake.doubt()
        self._spark.ensure()

    def finish(self, ask: Ask | None = None) -> dict[str, Any]:
        """The next run, or what is asked for, to its end in this process. It may not fail, except over bad files."""
        run = self.next_run(ask)
        assert run["status"] in ("success", "partial"), run
        return run

    def next_run(self, ask: Ask | None = None) -> dict[str, Any]:
        """The same, however it ends."""
        self._has_worked = True
        with self.service() as service:
            return carry_out(service, self.ingestion_id, ask)

    def hold(self) -> None:
        """From the next run on each batch is held, whatever its rows."""
        self._judge({"row_count_threshold": 10**9, "on_low_row_count": "hold"})

    def release_held(self) -> None:
        """Nothing is held any more, and what is was released, as by a call that died before it asked for a run."""
        self._judge({})
        with self.service() as service, service.database.write() as connection:
            lock_ingestion(connection, self.ingestion_id)
            query = select(batches.c.id).where(
                batches.c.ingestion_id == self.ingestion_id, batches.c.status == BatchStatus.HELD
            )
            for batch_id in list(connection.execute(query).scalars()):
                held.release(connection, batch_id)

    def _judge(self, quality: dict[str, Any]) -> None:
        with self.service() as service:
            ingestions.change(service, self.ingestion_id, IngestionUpdate.model_validate({"quality": quality}))

    def end(self) -> None:
        """No process of this world outlives it."""
        for worker in self._workers:
            worker.end()
        if self._spark.url is not None:
            self._lake.close()

    def check(self) -> None:
        """Raises AssertionError with all that is wrong."""
        verdict = self.verify()
        assert verdict.good, verdict

    def verify(self) -> Verdict:
        """Table, ledger and runs against the files, by content."""
        verdict = Verdict(partial_reads=len(self.partial), faults=list(self.partial))
        found = self._rows(verdict)
        with self.service() as service, service.database.read() as connection:
            files = connection.execute(
                select(processed_files).where(processed_files.c.ingestion_id == self.ingestion_id)
            ).all()
            its_batches = connection.execute(select(batches).where(batches.c.ingestion_id == self.ingestion_id)).all()
            its_runs = connection.execute(select(runs).where(runs.c.ingestion_id == self.ingestion_id)).all()
            versions = schema_versions.find(service, self.ingestion_id).versions
        replaced = sum(row.records or 0 for row in files if row.reason == ledger.REPLACED)
        verdict.faults += [
            *self._wrong_files(files, found),
            *self._wrong_batches(its_batches, sum(found.values()) + replaced),
            *self._wrong_versions(versions),
            *self._wrong_quarantine(files, its_runs),
            *_wrong_runs(its_runs, sum(found.values()) + replaced),
        ]
        return verdict

    @property
    def table(self) -> iceberg.Table:
        """As it is now: ask for it anew after each run."""
        return iceberg.Table(self._session(), self.table_name)

    @property
    def quarantine(self) -> iceberg.Table:
        """As it is now: ask for it anew after each run."""
        return iceberg.Table(self._session(), quarantine_name(self.table_name))

    def _session(self) -> SparkSession:
        # With Iceberg 1.4 and a catalog in SQLite a session goes on seeing the catalog as it was when it first asked.
        if self._spark.url is not None and self._has_worked:
            self._lake.close()
        self._has_worked = False
        return self._lake.session()

    def _rows(self, verdict: Verdict) -> Counter[tuple[str, Content]]:
        rows = self._session().table(self.table_name.quoted).collect()
        found: Counter[tuple[str, Content]] = Counter()
        for row in rows:
            values = row.asDict()
            path = values.pop(SOURCE_FILE)
            found[path, content(values)] += 1
        expected = self.source.expected()
        lost, more = expected - found, found - expected
        verdict.lost = sum(lost.values())
        verdict.doubled = sum(more.values())
        verdict.faults += [f"lost: {path} {sorted(row)}" for path, row in list(lost)[:3]]
        verdict.faults += [f"doubled, or never there: {path} {sorted(row)}" for path, row in list(more)[:3]]
        return found

    def _wrong_files(self, files: Sequence[Any], found: Counter[tuple[str, Content]]) -> Iterator[str]:
        in_table: Counter[str] = Counter()
        for (path, _), count in found.items():
            in_table[path] += count
        current = {row.path: row for row in files if row.current}
        if len(files) - len(current) != self.source.changes:
            yield f"{len(files) - len(current)} file versions are not current, {self.source.changes} times one changed"
        if left := [row for row in files if not row.current and row.status != FileStatus.SKIPPED]:
            yield f"{left[0].path} changed, and its version {left[0].ordinal} is {left[0].status}"
        if set(current) != set(self.source.rows) | self.source.bad | self.source.dropped:
            yield f"the ledger has {len(current)} files, the source another set of them"
        for path, row in current.items():
            status = FileStatus.FAILED if path in self.source.bad else FileStatus.SUCCESS
            if path in self.source.dropped:
                status = FileStatus.SKIPPED
            if row.status != status:
                yield f"{path} is {row.status} in the ledger, not {status}"
            if row.status == FileStatus.FAILED and not row.reason:
                yield f"{path} failed without a reason"
            if row.status == FileStatus.SUCCESS and row.records not in (None, in_table[path]):
                yield f"{path} has {row.records} rows in the ledger, {in_table[path]} in the table"

    def _wrong_versions(self, versions: Sequence[SchemaVersion]) -> Iterator[str]:
        """Each column that came to the table is told of by one version."""
        told = Counter(
            (change.change_type, change.column_name) for version in versions for change in version.changes_json
        )
        there = {field.name for field in self.table.schema().fields}
        expected = {
            *(("NEW_COLUMN", name) for name in there & self.source.added_columns),
            *(("REMOVED_COLUMN", name) for name in self.source.dropped_columns),
            *(("TYPE_CHANGE", name) for name in self.source.widened_columns),
        }
        if told != Counter(expected):
            yield f"the schema versions tell of the columns {dict(told)}, the table has {sorted(there)}"

    def _wrong_quarantine(self, files: Sequence[Any], its_runs: Sequence[Any]) -> Iterator[str]:
        """Each bad record is in the quarantine table once, and counted."""
        expected = self.source.set_aside
        table = self.quarantine
        state = table.state()
        rows = [] if state is None else self._session().table(table.name.quoted).collect()
        found = Counter((row["path"], row["record"]) for row in rows)
        if found != expected:
            yield f"set aside are {sorted(found.items())}, not {sorted(expected.items())}"
        landed = {row.batch_id for row in files if row.status == FileStatus.SUCCESS}
        if strangers := {row["batch_id"] for row in rows} - landed:
            yield f"the quarantine has records of {strangers}, which are not in the table"
        if state is not None and (left := table.branches()):
            yield f"the quarantine has branches left: {left}"
        for what, told in (("files", files), ("runs", its_runs)):
            if (number := sum(row.bad_records or 0 for row in told)) != expected.total():
                yield f"the {what} tell of {number} bad records, there are {expected.total()}"

    def _wrong_batches(self, its_batches: Sequence[Any], loaded: int) -> Iterator[str]:
        """Each landed batch is one commit on main, and each commit with rows is a landed batch."""
        line = {snapshot.id: snapshot for snapshot in self.table.ancestors()}
        for row in its_batches:
            if row.status not in (BatchStatus.LANDED, BatchStatus.BURNED):
                yield f"batch {row.id} was left {row.status}"
            if row.status == BatchStatus.LANDED:
                snapshot = line.get(row.published_snapshot_id)
                # Where rows were replaced the commit has no id, and others were written anew beside them.
                if snapshot is None or (
                    not row.replaces and (snapshot.wap_id, snapshot.records) != (row.id, row.records)
                ):
                    yield f"batch {row.id} has {row.records} rows in the ledger; on main there is {snapshot}"
        landed = {row.id for row in its_batches if row.status == BatchStatus.LANDED}
        replacing = {row.published_snapshot_id: row.id for row in its_batches if row.replaces}
        by_table = [snapshot.wap_id or replacing.get(snapshot.id) for snapshot in line.values() if snapshot.data_files]
        if sorted(by_table, key=str) != sorted(landed):
            yield f"main has commits of {len(by_table)} batches, {len(landed)} landed by the ledger"
        recorded = sum(row.records for row in its_batches if row.status == BatchStatus.LANDED)
        if recorded != loaded:
            yield f"{recorded} rows are recorded, {loaded} are or were in the table"
        if left := self.table.branches():
            yield f"branches are left: {left}"
        if not all(row.branches_dropped for row in its_batches):
            yield "the ledger believes in branches that are dropped"


def _wrong_runs(its_runs: Sequence[Any], rows: int) -> Iterator[str]:
    if ingested := sum(run.records_ingested for run in its_runs) - rows:
        yield f"the runs tell of {ingested} rows more than there are"
    for run in its_runs:
        if run.status in ("queued", "running"):
            yield f"run {run.id} is still {run.status}"
        if run.ended_at is None or run.lease_token is not None:
            yield f"run {run.id} is {run.status}, but was not let go of"
        if run.status == "failed" and not run.message:
            yield f"run {run.id} failed without a reason"
        if (run.status == "success" and run.error_count) or (run.status == "partial" and not run.error_count):
            yield f"run {run.id} is {run.status} with {run.error_count} errors"
