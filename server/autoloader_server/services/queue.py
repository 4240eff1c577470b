"""Where runs are carried out: daemon threads of this process, and a sweep for what nobody carries out.

Not `concurrent.futures`: its pools are shut down at interpreter exit before an embedded service could wait
for its runs.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Label, select

from autoloader_sdk.models import UNENDED, RunStatus
from autoloader_server.db.tables import runs
from autoloader_server.engine import run_record
from autoloader_server.engine.errors import WRITE_FAILURE
from autoloader_server.engine.lease import let_go
from autoloader_server.security.redact import logger

if TYPE_CHECKING:
    from autoloader_server.engine.outcome import Outcome
    from autoloader_server.service import Service

_log = logger(__name__)
_SWEEP_SECONDS = 3.0
_KEYS_SWEPT_EVERY = 1200  # sweeps: an hour


class RunQueue:
    """Carries out queued runs, at most `max_parallel_runs` at a time and one for each ingestion.

    The database is the queue: a row with status `queued` is taken up by whichever process sees it first (the
    engine makes it `running` only once). What is kept here is just which runs this process is at.
    """

    def __init__(self, service: Service, execute: Callable[[Service, str], None] | None = None) -> None:
        self._service = service
        self._execute = execute
        self._lock = Lock()
        self._active: dict[str, str] = {}
        self._waiting: dict[str, str] = {}
        self._unrecorded: dict[str, Outcome] = {}
        self._closed = Event()
        self._idle = Event()
        self._idle.set()
        self._sweeper: Thread | None = None

    def start(self) -> None:
        """Sweep once now, and then every few seconds."""
        self.sweep()
        self._sweeper = Thread(target=self._sweep_on, name="autoloader-sweep", daemon=True)
        self._sweeper.start()

    def submit(self, run_id: str, ingestion_id: str) -> None:
        """Carry out a queued run as soon as there is room, and none of its ingestion is going here."""
        with self._lock:
            if self._closed.is_set() or run_id in self._waiting or run_id in self._active:
                return
            self._waiting[run_id] = ingestion_id
            self._idle.clear()
            self._fill()

    def active(self) -> list[str]:
        """The ids of the runs that this process carries out or is about to."""
        with self._lock:
            return [*self._active, *self._waiting]

    def unrecorded(self, run_id: str) -> Outcome | None:
        """How a run of this process ended that could not write it down yet: its disk is full, its database away."""
        return self._unrecorded.get(run_id)

    def wait_idle(self, timeout: float | None = None) -> bool:
        """Wait until this process has nothing to carry out; False where the time was over first."""
        return self._idle.wait(timeout)

    def close(self) -> None:
        """Take up nothing more. Runs that are going keep their threads."""
        self._closed.set()
        with self._lock:
            self._waiting.clear()
            if not self._active:
                self._idle.set()
        if self._sweeper is not None:
            self._sweeper.join(timeout=10)

    def sweep(self) -> None:
        """End the runs of dead workers, and take up queued runs whose ingestion has nothing going.

        Deleted ingestions that left something unfinished get a run that takes it back.
        """
        self._record_ends()
        going: set[str] = set()
        queued: list[tuple[str, str]] = []
        clock = self._service.database.clock
        columns = (runs.c.id, runs.c.ingestion_id, runs.c.status, runs.c.lease_owner, runs.c.lease_token)
        with self._service.database.read() as connection:
            rows = connection.execute(
                select(*columns, _expired(clock)).where(runs.c.status.in_(UNENDED)).order_by(runs.c.created_at)
            ).all()
        for row in rows:
            if row.status == RunStatus.QUEUED:
                queued.append((row.id, row.ingestion_id))
            elif row.id in self._active or not self._is_dead(row.lease_owner, expired=bool(row.expired)):
                going.add(row.ingestion_id)
            else:
                self._bury(row.id, row.lease_token)
        from autoloader_server.services.ingestions import queue_deletion_runs

        queued += queue_deletion_runs(self._service.database)
        for run_id, ingestion_id in queued:
            if ingestion_id not in going:
                self.submit(run_id, ingestion_id)

    def _is_dead(self, owner: dict[str, object] | None, *, expired: bool) -> bool:
        from autoloader_server.engine.lease import owner_is_dead

        return expired or owner_is_dead(owner)

    def _bury(self, run_id: str, token: str | None) -> None:
        """End a run whose worker is dead, unless somebody took it over since it was looked at."""
        same = runs.c.lease_token.is_(None) if token is None else runs.c.lease_token == token
        clock = self._service.database.clock
        with self._service.database.write() as connection:
            row = connection.execute(
                select(runs.c.lease_owner, _expired(clock)).where(runs.c.id == run_id, same)
            ).one_or_none()
            # Its lease may have been renewed since.
            ended = (
                row is not None
                and self._is_dead(row.lease_owner, expired=bool(row.expired))
                and run_record.end_dead(connection, run_id, same)
            )
        if ended:
            _log.warning("run %s ended: its worker died; the next run finishes its work", run_id)

    def _sweep_on(self) -> None:
        from autoloader_server.services.idempotency import forget_old_keys
        from autoloader_server.services.tokens import forget_ended

        count = 0
        while not self._closed.wait(_SWEEP_SECONDS):
            try:
                self.sweep()
                if count % _KEYS_SWEPT_EVERY == 0:
                    forget_old_keys(self._service.database)
                    forget_ended(self._service.database)
                count += 1
            except Exception:
                _log.exception("the sweep for waiting and dead runs failed; it is tried again")

    def _fill(self) -> None:
        """Start what there is room for. The lock is held."""
        for run_id, ingestion_id in list(self._waiting.items()):
            if self._closed.is_set() or len(self._active) >= self._service.settings.max_parallel_runs:
                return
            if ingestion_id in self._active.values():
                continue
            del self._waiting[run_id]
            self._active[run_id] = ingestion_id
            Thread(target=self._carry_out, args=(run_id, ingestion_id), name=f"run-{run_id[:8]}", daemon=True).start()

    def _carry_out(self, run_id: str, ingestion_id: str) -> None:
        try:
            if self._execute is not None:
                self._execute(self._service, run_id)
            else:
                from autoloader_server.engine.run import execute

                execute(self._service, run_id)
        except Exception as error:
            _log.exception("run %s of %s ended by an error of the engine", run_id, ingestion_id)
            self._end_failed(run_id, error)
        finally:
            next_run = self._next_of(ingestion_id, run_id)
            with self._lock:
                del self._active[run_id]
                if next_run is not None and not self._closed.is_set():
                    self._waiting.setdefault(next_run, ingestion_id)
                self._fill()
                if not self._active and not self._waiting:
                    self._idle.set()

    def _next_of(self, ingestion_id: str, done: str) -> str | None:
        """The run that waited behind `done`; `done` itself, if still queued, is for the sweep."""
        waiting = select(runs.c.id).where(
            runs.c.ingestion_id == ingestion_id, runs.c.status == RunStatus.QUEUED, runs.c.id != done
        )
        try:
            with self._service.database.read() as connection:
                found = connection.execute(waiting).scalar()
        except Exception:
            _log.exception("could not look for the next run of %s; the sweep will", ingestion_id)
            return None
        return None if found is None else str(found)

    def _end_failed(self, run_id: str, error: Exception) -> None:
        from autoloader_server.engine.outcome import of_fault

        self._unrecorded[run_id] = of_fault(error)
        try:
            self._record_ends()
        except Exception:
            _log.exception("how run %s ended could not be recorded; it is tried again", run_id)

    def _record_ends(self) -> None:
        """Write down how runs ended that could not do so. One that the database did not let begin stays queued."""
        for run_id, (status, message, category) in list(self._unrecorded.items()):
            with self._service.database.write() as connection:
                token = connection.execute(select(runs.c.lease_token).where(runs.c.id == run_id)).scalar()
                only = [runs.c.status == RunStatus.RUNNING] if category == WRITE_FAILURE else []
                if run_record.end(connection, run_id, status, message, *only, category=category):
                    let_go(connection, token)
            del self._unrecorded[run_id]


def _expired(clock: ColumnElement[float]) -> Label[bool]:
    return (runs.c.lease_expires_at.is_(None) | (runs.c.lease_expires_at < clock)).label("expired")
