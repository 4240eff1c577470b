"""Workers of the real engine over the real ledger and a model of the table, each held at every step it takes.

A worker is a thread that waits for leave before each transaction of the ledger, each call of the table and
each kill point; only one of them moves at a time, so whoever holds the `World` decides what happens.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Self, TypeVar

import pytest
from pydantic import ByteSize
from pyspark.sql.types import StringType, StructField, StructType
from sqlalchemy import ColumnElement, Connection, Float, delete, event, insert, literal, select, update
from sqlalchemy.exc import OperationalError
from tests.unit.model_table import Iceberg, IcebergError, ModelTable, Row

from autoloader_sdk.models import FileStatus, IngestionCreate
from autoloader_server.db.engine import Database
from autoloader_server.db.locks import lock_ingestion
from autoloader_server.db.migrate import migrate
from autoloader_server.db.tables import batches, ingestions, metadata, processed_files, runs
from autoloader_server.engine import begin, check, held, killpoints, lease, load, run, settle, work
from autoloader_server.engine.batch_record import UNFINISHED, BatchStatus
from autoloader_server.engine.errors import DATA_MALFORMED, MISSING, FileFailure
from autoloader_server.engine.formats.base import Look
from autoloader_server.engine.untold import Untold
from autoloader_server.services.clear import clear_processed_files
from autoloader_server.settings import Settings
from autoloader_server.spark.errors import SparkUnavailable

T = TypeVar("T")

INGESTION = "ing-1"
LEDGER = "ledger-1"
LEASE_SECONDS = 60
# A worker that needs longer than this for one step hangs.
PATIENCE = 30.0
GOOD, EMPTY, BAD_LOOK, BAD_READ = "good", "empty", "bad_look", "bad_read"
BAD = (BAD_LOOK, BAD_READ)
DROPPED = "dropped by a call; it was held: too few"

_here = threading.local()


class Killed(BaseException):
    """Raised where a worker stands when it is killed: nothing of the engine catches it."""


class ModelDatabase(Database):
    """The real database, with a clock that stands still until somebody moves it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.time = 1_000_000.0
        self.cut: Cut | None = None
        if self.is_sqlite:
            event.listen(self.engine, "connect", _hurry)

    @property
    def clock(self) -> ColumnElement[float]:
        return literal(self.time, Float)

    def patient(self, seconds: float) -> Self:
        """It is the same one, with the same clock."""
        return self

    @contextmanager
    def write(self) -> Iterator[Connection]:
        cut = self.cut if self.cut is not None and hasattr(_here, "worker") and self.cut.now() else None
        with _transaction("write"):
            with super().write() as connection:
                yield connection
                if cut and not cut.committed:
                    raise Cut.ERROR
            if cut and cut.committed:
                raise Cut.ERROR

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with _transaction("read"), super().read() as connection:
            yield connection


@dataclass
class Cut:
    """The worker's so manieth writing transaction is cut off: before its commit, or after it, unheard."""

    ERROR: ClassVar = OperationalError("COMMIT", None, Exception("the server closed the connection unexpectedly"))
    nth: int
    committed: bool

    def now(self) -> bool:
        self.nth -= 1
        return self.nth == 0


def _hurry(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF")


@contextmanager
def _transaction(kind: str) -> Iterator[None]:
    worker: Worker | None = getattr(_here, "worker", None)
    if worker is None:
        yield
        return
    worker.pause(kind)
    worker.in_transaction = True
    try:
        yield
    finally:
        worker.in_transaction = False


class Worker:
    """One run by the engine's own code, in a thread that moves only when it is told to."""

    def __init__(self, world: World, name: str, run_id: str, *, local: bool) -> None:
        self.name = name
        self.run_id = run_id
        self.local = local
        self.at = "start"
        self.ended = False
        self.killed = False
        self.in_transaction = False
        self.asked: list[str] = []
        self.pending: Callable[[], Any] | None = None
        self.lease: lease.Lease | None = None
        self.job: work.Work | None = None
        self._world = world
        self._order = "go"
        # Closed locks, opened by the other side: a quarter of what semaphores cost.
        self._go = threading.Lock()
        self._news = threading.Lock()
        self._go.acquire()
        self._news.acquire()
        self._thread = threading.Thread(target=self._carry_out, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return not self.ended

    def pause(self, point: str) -> str:
        """Wait for leave, in the worker's own thread. Returns what to do, unless it is killed there."""
        if self.killed:
            self._world.faults.append(f"{self.name} went on to {point} after it was killed")
        if self.in_transaction:
            self._world.faults.append(f"{self.name} came to {point} in the middle of a transaction")
        self.at = point
        self._news.release()
        self._go.acquire()
        if self._order == "kill":
            self.killed = True
            raise Killed
        return self._order

    def call(self, point: str, effect: Callable[[], T], *, changes: bool) -> T:
        """A call of the table: done, or lost with the Spark server."""
        assert self.job is not None
        assert self.job.spark  # as the real table does: the session is opened by its first call
        self.asked.append(point)
        self.pending = effect if changes else None
        order = self.pause(f"table.{point}")
        self.pending = None
        if order == "spark_dies":
            raise SparkUnavailable("the Spark server died")
        return effect()

    def move(self, order: str = "go") -> None:
        """Let the worker take one step; back when it waits for the next, or has ended."""
        assert self.alive
        self._order = order
        self._go.release()
        if not self._news.acquire(timeout=PATIENCE):
            raise AssertionError(f"{self.name} hangs after {self.at}")

    def _carry_out(self) -> None:
        _here.worker = self
        self._go.acquire()
        try:
            if self._order == "kill":
                self.killed = True
                return
            self._world.carry_out_or_lose_the_database(self)
        except Killed:
            pass
        except BaseException as error:
            self._world.faults.append(f"{self.name}: {type(error).__name__}: {error}")
        finally:
            self.at = "end"
            self.ended = True
            self._news.release()


@dataclass(frozen=True, slots=True)
class Content:
    """What one version of a file holds."""

    kind: str
    text: str


@dataclass(slots=True)
class Frame:
    """The fake format's reader: it looks at the real files, and believes their first word."""

    def look(self, files: Sequence[tuple[str, int]], known: StructType | None) -> Iterator[Look | FileFailure]:
        for path, size in files:
            kind = _kind(path)
            if kind is None:
                yield FileFailure(path, MISSING, "it vanished")
            elif kind == BAD_LOOK:
                yield FileFailure(path, DATA_MALFORMED, "one sees that it is bad")
            else:
                yield Look(path, size, group=0)

    def guess(self, files: Sequence[tuple[str, int]], known: StructType) -> list[Look] | None:
        return [Look(path, size, group=0) for path, size in files]

    def infer(self, spark: object, looks: Sequence[Look]) -> StructType:
        return StructType([StructField("text", StringType())])

    def misfits(self, spark: object, looks: Sequence[Look], data: StructType) -> list[FileFailure]:
        return []


def _kind(path: str) -> str | None:
    try:
        return Path(path).read_text().split()[0]
    except FileNotFoundError:
        return None


def read_rows(path: str) -> Sequence[Row]:
    """What Spark would read of a file."""
    kind = _kind(path)
    if kind is None:
        raise IcebergError(f"[FAILED_READ_FILE.FILE_NOT_EXIST] {path}")
    if kind == BAD_READ:  # the other kind it would garble without a word
        raise IcebergError(f"[FAILED_READ_FILE] MALFORMED_RECORD in {path}")
    return [] if kind == EMPTY else [(path, Path(path).read_text())]


def _culprits(spark: object, fmt: Frame, looks: Sequence[Look], data: StructType) -> list[FileFailure]:
    failures = []
    for look in looks:
        try:
            read_rows(look.path)
        except IcebergError as error:
            category = MISSING if "FILE_NOT_EXIST" in str(error) else DATA_MALFORMED
            failures.append(FileFailure(look.path, category, str(error)))
    return failures


@dataclass
class World:
    """One source folder, one ingestion, one table, and who works on them."""

    database: ModelDatabase
    folder: Path
    batch_size: int
    lineage: bool
    foreign: bool
    beside: bool = False
    least: int | None = None
    replaces: bool = False
    workers: dict[str, Worker] = field(default_factory=dict)
    in_flight: list[Callable[[], Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    untold: list[Untold] = field(default_factory=list)
    contents: dict[tuple[str, str], Content] = field(default_factory=dict)
    cleared: Counter[Row] = field(default_factory=Counter)
    unsettled_at_clear: Counter[Row] = field(default_factory=Counter)
    dropped: set[tuple[str, str]] = field(default_factory=set)
    owners: dict[str, Worker] = field(default_factory=dict)
    closing: threading.Event = field(default_factory=threading.Event)
    _serial: int = 0

    def __post_init__(self) -> None:
        self.iceberg = Iceberg(on_commit=self._look_at_rows)
        if self.foreign:
            self.iceberg.create(StructType([StructField("text", StringType())]), {"owner": "somebody else"})
            self.iceberg.append([(None, "theirs")])
        self.spec = IngestionCreate.model_validate(
            {
                "name": "model",
                "source": {
                    "type": "local",
                    "path": str(self.folder),
                    "on_changed_file": "replace" if self.replaces else "hold",
                },
                "format": {"type": "csv"},
                "destination": {
                    "catalog": "lake",
                    "database": "bronze",
                    "table": "model",
                    "lineage_columns": ["_source_file"] if self.lineage else [],
                },
                "limits": {"max_files_per_batch": self.batch_size},
            }
        )
        self.judge_by(self.least)
        with self.database.write() as connection:
            for table in metadata.sorted_tables:
                connection.execute(delete(table))
            connection.execute(
                insert(ingestions).values(
                    id=INGESTION,
                    name="model",
                    status="active",
                    spec=self.spec.model_dump(mode="json", by_alias=True, exclude_none=True),
                    created_at=datetime.now(UTC),
                    updated_at=datetime.now(UTC),
                )
            )

    def judge_by(self, least: int | None) -> None:
        """From the next run on a batch of fewer rows is held."""
        rule = None if least is None else {"row_count_threshold": least, "on_low_row_count": "hold"}
        self.spec = IngestionCreate.model_validate({**self.spec.wire(), "quality": rule})
        with self.database.write() as connection:
            connection.execute(update(ingestions).values(spec=self.spec.wire()))

    # What the engine takes for its Service.

    @cached_property
    def settings(self) -> Settings:
        return Settings(home=self.folder, check_beside_bytes=ByteSize(0 if self.beside else 10**9))

    @property
    def ledger_id(self) -> str:
        return LEDGER

    def credentials_of(self, encrypted: bytes | None) -> dict[str, str]:
        return {}

    def spark_of(self, cluster_id: str) -> Any:
        spark = SimpleNamespace(
            addTag=lambda tag: None, removeTag=lambda tag: None, getTags=set, interruptTag=lambda tag: None
        )
        return SimpleNamespace(started=True, is_local=True, session=lambda: spark, doubt=lambda: None)

    def carry_out(self, worker: Worker) -> None:
        """`run.execute` without the renewal's thread: `renew` does what it does."""
        worker.lease = lease.Lease(
            self.database, worker.run_id, seconds=LEASE_SECONDS, renew_seconds=LEASE_SECONDS // 4
        )
        job = begin.begin(self, worker.run_id, worker.lease)  # type: ignore[arg-type]
        if job is None:
            return
        worker.job = job
        vars(job).update(table=ModelTable(self.iceberg, worker, read_rows), format=Frame())
        run.attempt(job)
        run.after(job)

    def carry_out_or_lose_the_database(self, worker: Worker) -> None:
        """As the queue does: a run that does not begin stays queued, an end that cannot be written is told later."""
        try:
            with suppress(OperationalError):
                self.carry_out(worker)
        except Untold as untold:
            self.untold.append(untold)

    def tell_ends(self) -> None:
        """What the queue's next sweep does."""
        while self.untold:
            self.untold.pop().tell(self.database)

    # What happens at the source.

    def put(self, name: str, kind: str) -> None:
        """A new file, or another content of one that is there."""
        self._serial += 1
        path = self.folder / f"{name}.csv"
        path.write_text(f"{kind} {self._serial}")
        moment = 1_600_000_000 + self._serial
        os.utime(path, (moment, moment))
        found = os.stat(path)
        identity = f"{found.st_size}-{found.st_mtime_ns}"
        self.contents[str(path), identity] = Content(kind, f"{kind} {self._serial}")

    def vanish(self, name: str) -> None:
        (self.folder / f"{name}.csv").unlink(missing_ok=True)

    # What happens to the workers.

    def start(self, name: str, *, local: bool) -> None:
        """A worker takes the ingestion's queued run, as the sweep of its process would."""
        with self.database.write() as connection:
            run_id = connection.execute(select(runs.c.id).where(runs.c.status == "queued")).scalar()
            if run_id is None:
                run_id = f"run-{len(self.owners) + 1}"
                connection.execute(
                    insert(runs).values(
                        id=run_id,
                        ingestion_id=INGESTION,
                        status="queued",
                        trigger="manual",
                        created_at=datetime.now(UTC),
                    )
                )
        key = f"{name}{len(self.owners) + 1}"
        worker = Worker(self, key, run_id, local=local)
        self.owners[key] = self.workers[name] = worker

    def step(self, name: str, count: int) -> None:
        """Up to so many steps, until the worker ends or only waits."""
        worker = self.workers[name]
        for _ in range(count):
            worker.move()
            if worker.ended or worker.at == "settle_waited":
                return

    def step_to(self, name: str, point: str) -> bool:
        """Up to the next `point`; False where the worker ended, or only waits, before it came there."""
        worker = self.workers[name]
        while True:
            self.step(name, 1)
            if worker.ended or worker.at in (point, "settle_waited"):
                return worker.at == point

    def finish(self, name: str) -> None:
        self.step(name, 10_000)

    def kill(self, name: str, *, sent: bool) -> None:
        """The worker ends for good where it stands. What it had sent to Spark may still be done later."""
        worker = self.workers[name]
        if sent and worker.pending is not None:
            self.in_flight.append(worker.pending)
        worker.move("kill")
        assert worker.ended

    def lose_spark(self, name: str, *, sent: bool) -> None:
        """The worker hears that Spark died; what it had sent may still be done later."""
        worker = self.workers[name]
        if sent and worker.pending is not None:
            self.in_flight.append(worker.pending)
        worker.move("spark_dies")

    def renew(self, name: str) -> None:
        """What the lease's thread does every 15 s."""
        held = self.workers[name].lease
        if held is not None and not held._renew_once():
            held._lost.set()

    def cancel(self, name: str) -> None:
        held = self.workers[name].lease
        if held is not None:
            held.cancelled.set()

    def expire_leases(self) -> None:
        self.database.time += LEASE_SECONDS + 1

    def expire_history(self) -> None:
        """After this nothing leads back from the newest snapshot to what was there."""
        for _ in range(2):
            self.iceberg.append([(None, "theirs")])
        self.iceberg.expire()

    def deliver(self, number: int) -> None:
        """Something that a dead worker had sent is done now; nobody hears the answer."""
        effect = self.in_flight.pop(number % len(self.in_flight))
        try:
            effect()
        except (IcebergError, load.DuplicatePublish):
            return

    def clear(self) -> None:
        """Forget what was loaded: it may be loaded once more.

        So may what an unsettled batch brought, if the history that tells is gone when it is settled.
        """
        for counter, status in ((self.cleared, FileStatus.SUCCESS), (self.unsettled_at_clear, FileStatus.PROCESSING)):
            for path, identity in self.versions(status):
                if self.contents[path, identity].kind == GOOD:
                    counter[path, self.contents[path, identity].text] += 1
        self.dropped.clear()
        clear_processed_files(self, INGESTION)  # type: ignore[arg-type]

    def held(self) -> list[str]:
        """The batches that wait for a word."""
        with self.database.read() as connection:
            query = select(batches.c.id).where(batches.c.status == BatchStatus.HELD).order_by(batches.c.created_at)
            return list(connection.execute(query).scalars())

    def release(self, number: int = 0) -> None:
        """What the call does before it asks for a run."""
        with self.database.write() as connection:
            lock_ingestion(connection, INGESTION)
            held.release(connection, self.held()[number % len(self.held())])

    def drop(self, number: int = 0) -> None:
        """The same, for the other word."""
        with self.database.write() as connection:
            lock_ingestion(connection, INGESTION)
            batch_id = self.held()[number % len(self.held())]
            its = processed_files.c.batch_id == batch_id
            rows = connection.execute(select(processed_files.c.path, processed_files.c.identity).where(its))
            self.dropped.update((row.path, row.identity) for row in rows)
            held.drop(connection, batch_id, "too few")

    # What must hold.

    def versions(self, status: str, *, in_batch: bool = False) -> list[tuple[str, str]]:
        """Path and identity of each version that has this status in the ledger."""
        files = processed_files.c
        query = select(files.path, files.identity).where(files.status == status)
        if in_batch:
            query = query.where(files.batch_id.is_not(None))
        with self.database.read() as connection:
            return [(row.path, row.identity) for row in connection.execute(query)]

    def _look_at_rows(self, rows: tuple[Row, ...]) -> None:
        for row, count in Counter(rows).items():
            if row[0] is not None and count > 1 + self.cleared[row] + self._maybe()[row]:
                self.faults.append(f"{row} is in the table {count} times")

    def _maybe(self) -> Counter[Row]:
        return self.unsettled_at_clear if self.iceberg.expired else Counter()

    def check(self) -> None:
        assert not self.faults, self.faults
        if self.least is None:
            return
        in_table = Counter(self.iceberg.rows) - self.cleared - self._maybe()
        for path, identity in {*self.versions(FileStatus.HELD, in_batch=True), *self.dropped}:
            row = path, self.contents[path, identity].text
            assert not in_table[row], f"{row} is in the table, and was held"

    def settle_everything(self) -> str:
        """Time passes, everything that was sent is done, and one more run goes to its end. How that was.

        It gets a file of its own, so that it has to do with the table. What is held is released, and nothing is held
        any more.
        """
        for name, worker in self.workers.items():
            if worker.alive:
                self.kill(name, sent=False)
        while self.in_flight:
            self.deliver(0)
        self.expire_leases()
        while self.held():
            self.release()
        self.judge_by(None)
        self.put("last", GOOD)
        self.start("last", local=True)
        self.finish("last")
        self.check()
        return self.outcome("last")

    def outcome(self, name: str) -> str:
        """How a worker's run ended."""
        with self.database.read() as connection:
            row = connection.execute(
                select(runs.c.status, runs.c.message).where(runs.c.id == self.workers[name].run_id)
            ).one()
        return f"{row.status}: {row.message}"

    def check_end(self, ended: str) -> None:
        """The promise: every record of every file that is there, once; and the ledger tells just that."""
        if self.iceberg.expired and "nobody can tell whether" in ended:
            return
        assert ended.split(":", maxsplit=1)[0] in ("success", "partial", "failed"), ended
        assert "error in the autoloader itself" not in ended
        files = processed_files.c
        with self.database.read() as connection:
            rows = connection.execute(
                select(files.path, files.identity, files.status, files.current, files.reason)
            ).all()
            left = connection.execute(
                select(batches.c.id, batches.c.status).where(batches.c.status.in_(UNFINISHED))
            ).all()
            texts = connection.execute(select(runs.c.message)).scalars().all()
        assert not left, f"unfinished batches: {left}"
        assert not self.iceberg.branches, f"branches left: {self.iceberg.branches}"
        assert not [text for text in texts if text and "error in the autoloader itself" in text], texts
        current = {row.path: row for row in rows if row.current}
        loaded = {(row.path, row.identity) for row in rows if row.status == FileStatus.SUCCESS}
        stuck = [row for row in rows if row.status in (FileStatus.PROCESSING, FileStatus.DISCOVERED)]
        assert not stuck, f"neither loaded nor refused: {stuck}"
        # What was loaded before a clear stays beside what is loaded since, until a newer version replaces both.
        expected = Counter() if self.replaces else Counter(self.cleared)
        most = self._maybe() + (self.cleared if self.replaces else Counter())
        expected.update(
            (path, self.contents[path, identity].text)
            for path, identity in loaded
            if self.contents[path, identity].kind == GOOD
        )
        ours = Counter(row for row in self.iceberg.rows if row[0] is not None)
        assert expected <= ours <= expected + most, f"the table holds {ours}, by the ledger it should be {expected}"
        for file in self.folder.iterdir():
            found = os.stat(file)
            identity = f"{found.st_size}-{found.st_mtime_ns}"
            row = current[str(file)]
            assert row.identity == identity, f"{file.name}: its newest version is unknown: {row}"
            kind = self.contents[str(file), identity].kind
            earlier = any(path == str(file) and other != identity for path, other in loaded)
            if (str(file), identity) in self.dropped:
                assert (row.status, row.reason) == (FileStatus.SKIPPED, DROPPED), f"{file.name} was dropped: {row}"
            elif earlier and not self.replaces:
                assert row.status == FileStatus.HELD, f"{file.name} ({kind}) changed after it was loaded: {row}"
            else:
                wanted = FileStatus.FAILED if kind in BAD else FileStatus.SUCCESS
                assert row.status == wanted, f"{file.name} ({kind}): {row}"


class AtOnce:
    """A thread that has done its work when it was started: nothing moves by itself here."""

    def __init__(self, *, target: Callable[[], None], name: str, daemon: bool) -> None:
        self.start = target

    def join(self) -> None:
        pass


def model_engine(monkeypatch: pytest.MonkeyPatch, owners: Callable[[], dict[str, Worker]]) -> None:
    """Put the model in the place of Spark, of processes, and of waiting."""

    def this_owner() -> dict[str, Any]:
        return {"worker": _here.worker.name, "pid": 1, "host": "model"}

    def owner_is_dead(owner: dict[str, Any] | None) -> bool:
        if not owner:
            return True
        worker = owners()[owner["worker"]]
        return worker.local and worker.killed

    def reach(point: str, home: Path) -> None:
        _here.worker.pause(point)

    monkeypatch.setattr(lease, "this_owner", this_owner)
    for module in (begin, settle):
        monkeypatch.setattr(module, "owner_is_dead", owner_is_dead)
    for module in (load, run, settle, work, killpoints):
        if getattr(module, "reach", None) is killpoints.reach:
            monkeypatch.setattr(module, "reach", reach)
    monkeypatch.setattr(settle, "_POLL_SECONDS", 0)
    monkeypatch.setattr(check, "Thread", AtOnce)
    monkeypatch.setattr(load, "culprits", _culprits)
    monkeypatch.setattr(load, "frame_of", lambda spark, fmt, looks, *rest: [look.path for look in looks])
    # Only says what a run is doing.
    monkeypatch.setattr(work.Work, "step", lambda self, name, **counts: None)


def model_database(url: str) -> ModelDatabase:
    database = ModelDatabase(url)
    migrate(database)
    return database
