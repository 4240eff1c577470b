"""One run, carried out step by step by somebody else than our queue: the tasks of Prefect's flow.

The steps are those of `engine.run.attempt`, in the same order. Between them the run is held by its lease, whose thread
goes on until `close`. After a step that failed the next one starts afresh, on another Spark session and with whatever
the failed one left unfinished, so that a step can be called again, and a whole attempt be followed by another one of
the same run.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from sqlalchemy import insert, select

from autoloader_sdk.models import RunData, RunStatus
from autoloader_server.db.clock import now
from autoloader_server.db.locks import lock_ingestion
from autoloader_server.db.tables import runs
from autoloader_server.engine import outcome, run_record
from autoloader_server.engine.begin import live_run, new_lease, start
from autoloader_server.engine.errors import INTERRUPTED, RETRYABLE, WRITE_FAILURE, LeaseLost
from autoloader_server.engine.outcome import Outcome
from autoloader_server.engine.run import after, end, find_files, give_up, load_next, plan_files
from autoloader_server.engine.settle import settle
from autoloader_server.engine.sync import drop_absent
from autoloader_server.engine.work import Work
from autoloader_server.security.redact import logger, redact
from autoloader_server.services import runs as run_service
from autoloader_server.services.errors import Conflict
from autoloader_server.services.ingestions import row_of
from autoloader_server.spark.errors import first_line

if TYPE_CHECKING:
    from autoloader_server.engine.lease import Lease
    from autoloader_server.service import Service

T = TypeVar("T")
_log = logger(__name__)
_NAMESPACE = uuid.UUID("1e3bd1a5-0c0c-5f0e-8f43-0d2b8d6a9f52")


class StepFailed(Exception):
    """A step did not get through. Its text is how the run would end by it, and holds no secret."""

    def __init__(self, ending: Outcome) -> None:
        super().__init__(redact(ending.message or ending.status))
        self.ending = ending

    @property
    def curable(self) -> bool:
        """Whether the same step may get through a little later."""
        return self.ending.status == RunStatus.FAILED and self.ending.category in RETRYABLE | {WRITE_FAILURE}


class Found(NamedTuple):
    """What the first step saw: files at the source, and those of them that are new."""

    files: int
    new: int


@dataclass(frozen=True)
class Busy:
    """Another run of the ingestion is going."""

    run_id: str


def run_id_of(flow_run_id: str) -> str:
    """The one run of a flow run: whoever hears of the flow run first, and each attempt of it, means the same run."""
    return str(uuid.uuid5(_NAMESPACE, flow_run_id))


class SteppedRun:
    """A run that this process is at. Made by `begin`, held until `close`."""

    def __init__(self, service: Service, work: Work) -> None:
        self._service = service
        self._work = work
        self._failed = False
        self._lost: Exception | None = None
        self.held = True

    @classmethod
    def begin(
        cls, service: Service, ingestion_id: str, flow_run_id: str, trigger: str, lease: Lease | None = None
    ) -> SteppedRun | Busy:
        """Begin the flow run's run, or carry it on where it was begun before.

        `lease` is the one that an earlier attempt in this process still holds. Raises NotFound where there is no such
        ingestion (any more), Conflict where it is paused.
        """
        run_id = run_id_of(flow_run_id)
        held = lease or new_lease(service, run_id)
        with service.database.write() as connection:
            lock_ingestion(connection, ingestion_id)
            ingestion = row_of(connection, ingestion_id)
            known = connection.execute(select(runs.c.id).where(runs.c.id == run_id)).scalar() is not None
            if ingestion["status"] == "paused" and not known:
                raise Conflict(f"ingestion {ingestion_id} is paused: resume it, and it runs again")
            other = live_run(connection, service.database, ingestion_id, run_id, held)
            if other is not None:
                return Busy(other)
            if not known:
                connection.execute(
                    insert(runs).values(
                        id=run_id,
                        tenant_id=ingestion["tenant_id"],
                        ingestion_id=ingestion_id,
                        status=RunStatus.RUNNING,
                        trigger=trigger,
                        created_at=now(),
                        flow_run_id=flow_run_id,
                    )
                )
            work = start(connection, service, run_id, held)
        held.on_cancel = work.interrupt
        if lease is None:
            held.start()
        return cls(service, work)

    @property
    def lease(self) -> Lease | None:
        """What another attempt carries on with; None where the run was lost or let go."""
        usable = self.held and self._lost is None and not self._work.lease.lost
        return self._work.lease if usable else None

    @property
    def run_id(self) -> str:
        return self._work.run_id

    @property
    def what(self) -> str:
        """From where to where, for a log."""
        spec = self._work.spec
        to = spec.destination
        return redact(f"{spec.name}: {spec.source.path} -> {to.catalog}.{to.database}.{to.table}")

    def data(self) -> RunData:
        return run_service.get(self._service, self._work.ingestion_id, self.run_id)

    def find_files(self) -> Found:
        with self._step() as work:
            found = find_files(work)
            return Found(found.listed, found.new)

    def plan_files(self) -> int:
        """How many files are to be loaded."""
        with self._step() as work:
            return plan_files(work)

    def load_files(self, on_batch: Callable[[RunData], None]) -> RunData:
        """Load batch after batch; `on_batch` gets the run after each. The run at the end."""
        with self._step() as work:
            while load_next(work):
                on_batch(self.data())
            return self.data()

    def complete(self) -> RunData:
        """End the run, and tidy up. Raises StepFailed, and ends nothing, where all files failed."""
        with self._step() as work:
            drop_absent(work)
            ending = outcome.of_work(work)
            if ending.status == RunStatus.FAILED:
                raise StepFailed(ending)
            if not end(work, ending):
                raise LeaseLost(self.run_id)
            ended = self.data()
        self.close()
        after(work)
        return ended

    def fail(self, ending: Outcome, *, last: bool) -> RunData:
        """End the run so; but with another attempt to come, a failed one goes on, and a note says what happened."""
        work = self._work
        if self._lost is not None:
            give_up(work, self._lost)
        elif last or ending.status != RunStatus.FAILED:
            end(work, ending)
        else:
            with work.database.write() as connection:
                work.lease.hold_run(connection)
                run_record.note(connection, self.run_id, f"tried again after a failure: {ending.message}")
                run_record.progress(connection, self.run_id, "waiting for another attempt")
            self._failed = True
            return self.data()
        self.close()
        return self.data()

    def interrupt(self) -> None:
        """End what Spark is doing for this run. Never raises."""
        try:
            self._work.interrupt()
        except Exception as error:
            _log.warning("Spark could not be told that run %s was stopped: %s", self.run_id, first_line(error))

    def close(self) -> None:
        """Hold the run no longer."""
        self.held = False
        self._work.lease.stop()

    @contextmanager
    def _step(self) -> Iterator[Work]:
        """Turns whatever stops a step into StepFailed, and lets the next one start afresh."""
        try:
            if self._failed:
                self._start_afresh()
            yield self._work
        except StepFailed:
            raise
        except Exception as error:
            self._failed = True
            raise StepFailed(self._ending(error)) from None

    def _ending(self, error: Exception) -> Outcome:
        try:
            ending = outcome.of_error(self._work, error)
            if ending is not None:
                return ending
            self._lost = error
        except Exception as another:  # the database is away altogether
            return outcome.of_fault(another)
        return Outcome(
            RunStatus.FAILED, f"run {self.run_id} was taken from this worker, and ended by somebody else", INTERRUPTED
        )

    def _start_afresh(self) -> None:
        """Another try of a step, with nothing kept in memory; the batch that the failed one left is settled first."""
        lease = self._work.lease
        with self._service.database.write() as connection:
            lease.hold_run(connection)
            before = self._work
            self._work = start(connection, self._service, self.run_id, lease)
            # As for a direct run: what was cleared meanwhile is not loaded by this run.
            self._work.generation = before.generation
            # What earlier steps have found and the end is to tell.
            self._work.too_young, self._work.left_to_others = before.too_young, before.left_to_others
        lease.on_cancel = self._work.interrupt
        self._failed = False
        settle(self._work)
