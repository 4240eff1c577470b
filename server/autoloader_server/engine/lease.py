"""Who owns a piece of work, until when, and how everybody else can tell.

A worker holds one token, on its run and on its open batch. It renews both by a thread. Every write to the ledger names
the token, so a worker that lost it (it was stopped, its host slept) cannot write; and Iceberg's refusal of a second
commit under one batch id keeps whatever else it does out of the table.
"""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, select, update

from autoloader_server.db.engine import Database
from autoloader_server.db.locks import lock_ingestion_of_batch, lock_ingestion_of_run
from autoloader_server.db.tables import batches, runs
from autoloader_server.engine.errors import LeaseLost
from autoloader_server.security.redact import logger
from autoloader_server.spark.errors import first_line
from autoloader_server.spark.processes import ProcessIdentity

_log = logger(__name__)

Owner = dict[str, Any]
_CANCEL_POLL_SECONDS = 1.0


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux: there is only one
        return ""


def this_owner() -> Owner:
    """This process, so that another one can tell whether it is still alive."""
    me = ProcessIdentity.of()
    assert me is not None
    return {
        "host": socket.gethostname(),
        "pid_namespace": _pid_namespace(),
        "pid": me.pid,
        "started": me.started,
    }


def owner_is_dead(owner: Owner | None) -> bool:
    """Whether we can be sure that a process is gone. False where we cannot look: another host or container."""
    if not owner:
        return True
    if owner["host"] != socket.gethostname():
        return False
    process = ProcessIdentity(owner["pid"], owner["started"])
    if process.boot != ProcessIdentity.this_boot():
        return True
    if owner["pid_namespace"] != _pid_namespace():
        return False
    return not process.alive()


def let_go(connection: Connection, token: str) -> None:
    """Whatever batch is still held under this lease may be taken over at once."""
    connection.execute(update(batches).where(batches.c.lease_token == token).values(lease_expires_at=0.0))


class Lease:
    """The ownership of a run and of its open batch, renewed by a thread until `stop`.

    `on_cancel` is called once, from that thread, when somebody asks for the run to be cancelled.
    """

    def __init__(self, database: Database, run_id: str, *, seconds: int, renew_seconds: int) -> None:
        self.token = str(uuid.uuid4())
        self.owner = this_owner()
        self.seconds = seconds
        self.cancelled = threading.Event()
        self.on_cancel: Callable[[], None] | None = None
        self._database = database
        self._run_id = run_id
        self._renew_seconds = renew_seconds
        self._lost = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease-{run_id[:8]}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the renewal."""
        self._stopped.set()
        self._thread.join()

    def columns(self) -> dict[str, Any]:
        """The lease columns of a row that is being taken."""
        return {
            "lease_token": self.token,
            "lease_owner": self.owner,
            "lease_expires_at": self._database.clock + self.seconds,
        }

    @property
    def lost(self) -> bool:
        """Whether the thread has found the lease gone."""
        return self._lost.is_set()

    def check(self) -> None:
        """Raises LeaseLost when the thread has found the lease gone. The ledger's own check is what decides."""
        if self._lost.is_set():
            raise LeaseLost(self._run_id)

    def hold_batch(self, connection: Connection, batch_id: str, statuses: tuple[str, ...], **values: Any) -> None:
        """Change a batch that this worker owns, in the caller's transaction. Raises LeaseLost where it does not.

        From here to the end of the transaction it is the only one of the ingestion.
        """
        lock_ingestion_of_batch(connection, batch_id)
        changed = connection.execute(
            update(batches)
            .where(batches.c.id == batch_id, batches.c.lease_token == self.token, batches.c.status.in_(statuses))
            .values(**values)
        )
        if changed.rowcount != 1:
            raise LeaseLost(f"batch {batch_id}")

    def hold_run(self, connection: Connection) -> None:
        """Raises LeaseLost where the run was ended by somebody else: what this worker saw may be old by now.

        From here to the end of the transaction it is the only one of the ingestion, and nobody can end the run.
        """
        lock_ingestion_of_run(connection, self._run_id)
        mine = select(runs.c.id).where(runs.c.id == self._run_id, runs.c.lease_token == self.token)
        if connection.execute(mine).scalar() is None:
            raise LeaseLost(self._run_id)

    def _renew(self) -> None:
        waited = 0.0
        while not self._stopped.wait(_CANCEL_POLL_SECONDS):
            waited += _CANCEL_POLL_SECONDS
            try:
                self._look_for_cancel()
                if waited >= self._renew_seconds:
                    if not self._renew_once():
                        self._lost.set()
                        return
                    waited = 0.0
            except Exception as error:
                # The database is away for a moment: tried again each second, for as long as the lease lasts.
                _log.warning("the lease of run %s could not be renewed yet: %s", self._run_id, first_line(error))

    def _renew_once(self) -> bool:
        until = {"lease_expires_at": self._database.clock + self.seconds}
        # Two transactions of one row each: holding one row, and no ingestion, while waiting for another one could end
        # in a deadlock with the work itself.
        with self._database.write() as connection:
            mine = connection.execute(update(runs).where(runs.c.lease_token == self.token).values(**until))
        with self._database.write() as connection:
            connection.execute(update(batches).where(batches.c.lease_token == self.token).values(**until))
        return mine.rowcount > 0

    def _look_for_cancel(self) -> None:
        if self.cancelled.is_set():
            return
        with self._database.read() as connection:
            asked = connection.execute(select(runs.c.cancel_requested).where(runs.c.id == self._run_id)).scalar()
        if asked:
            self.cancelled.set()
            if self.on_cancel is not None:
                # In a thread of its own: it may wait for Spark, and the lease must not.
                threading.Thread(target=self._cancel, args=(self.on_cancel,), daemon=True).start()

    def _cancel(self, interrupt: Callable[[], None]) -> None:
        try:
            interrupt()
        except Exception as error:
            # The run notices the cancellation by itself, at its next step.
            _log.warning("Spark could not be told of the cancellation of run %s: %s", self._run_id, first_line(error))
