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
from autoloader_server.engine.errors import INTERNAL, fault_of_ours
from autoloader_server.engine.untold import Untold
from autoloader_server.security.redact import logger
from autoloader_server.spark.errors import first_line

if TYPE_CHECKING:
    from autoloader_server.service import Service

_log = logger(__name__)
_SWEEP_SECONDS = 3.0
_KEYS_SWEPT_EVERY = 1200  # sweeps: an hour


class RunQueue:
    """Carries out queued runs, at most `max_parallel_runs` at a time and one for each ingestion.

    The database is the queue: a row with status `queued` is taken up by whichever process sees it first (the
    engine makes it `running` only once). What is kept here is which runs this process is at, and the ends of those that
    the ledger could not be told of yet.
    """

    def __init__(self, service: Service, execute: Callable[[Service, str], None] | None = None) -> None:
        self._service = service
        self._execute = execute
        self._lock = Lock()
        self._active: dict[str, str] = {}
        self._waiting: dict[str, str] = {}
        self._untold: dict[str, Untold] = {}
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

    def untold(self, run_id: str, lease_token: str | None) -> Untold | None:
        """How a run of this process ended, where the ledger still takes it for going on under its lease."""
        known = self._untold.get(run_id)
        return known if known is not None and known.lease_token == lease_token else None

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
        self.tell_ends()
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
        except Untold as untold:
            _log.warning("run %s ended, and the ledger does not take it: %s", run_id, untold)
            self._untold[run_id] = untold
            self.tell_ends()
        except Exception as error:
            self._never_began(run_id, error)
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

    def tell_ends(self) -> None:
        """Write down how runs ended that the ledger could not be told of; what it does not take now stays for later."""
        for run_id, untold in list(self._untold.items()):
            try:
                untold.tell(self._service.database)
            except Exception as error:
                _log.warning("how run %s ended cannot be stored yet: %s", run_id, first_line(error))
            else:
                self._untold.pop(run_id, None)

    def _never_began(self, run_id: str, error: Exception) -> None:
        _log.exception("run %s ended by an error of the engine", run_id)
        try:
            with self._service.database.write() as connection:
                queued = runs.c.status == RunStatus.QUEUED
                run_record.end(connection, run_id, RunStatus.FAILED, fault_of_ours(error), queued, category=INTERNAL)
        except Exception:
            _log.exception("run %s could not be recorded as failed; it stays queued", run_id)


def _expired(clock: ColumnElement[float]) -> Label[bool]:
    return (runs.c.lease_expires_at.is_(None) | (runs.c.lease_expires_at < clock)).label("expired")
