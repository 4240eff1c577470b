"""One database: connections, transactions, and its own clock."""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import psutil
import stamina
from sqlalchemy import ColumnElement, Connection, Float, create_engine, event, literal_column, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError

from autoloader_server.db import postgres, tenancy

# SQLite's locks do not hold there; a ledger on one of them would one day load a file twice.
_NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smbfs", "smb3", "afpfs", "9p", "ceph", "lustre", "glusterfs", "gpfs", "beegfs"}
)
_BUSY_SECONDS = 30
# What a statement raises whose server is away, went away, waits too long, or has cut the transaction off.
DATABASE_AWAY = (OperationalError, InternalError, InterfaceError)
_POSTGRES_DISK_FULL = "53100"  # of its manual's Appendix A, "PostgreSQL Error Codes"
# A long transaction would starve the renewal of leases (docs/exactly-once.md).
ROWS_PER_TRANSACTION = 10_000


def disk_full(error: BaseException) -> bool:
    """Whether a statement failed since the disk under the database has no room left."""
    cause = getattr(error, "orig", None)
    return (
        getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        or getattr(cause, "sqlstate", None) == _POSTGRES_DISK_FULL
    )


class Database:
    """SQLite (default) or PostgreSQL behind one small surface.

    `read()` gives a snapshot, `write()` a transaction whose reads are still true when it writes: on SQLite it holds the
    write lock from its first statement, on PostgreSQL it takes the locks of `db/locks.py`.

    It is all tenants', with new rows for the default one; `of_tenant` and `for_rows_of` give it for one of them.

    Raises ValueError for a place or a kind of database that cannot hold a ledger.
    """

    def __init__(self, url: str | URL) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.patience = 0.0
        self.tenant = tenancy.DEFAULT_TENANT
        self.bound = False
        if self.is_sqlite:
            _check_sqlite_place(self.url)
            self.engine = create_engine(self.url)
            event.listen(self.engine, "connect", _configure_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            self.url = postgres.with_driver(self.url)
            self.engine = postgres.engine(self.url)
        event.listen(self.engine, "before_execute", tenancy.bind, retval=True)

    def of_tenant(self, tenant: str) -> Self:
        """The same database, as if it held this tenant's rows alone."""
        other = self.for_rows_of(tenant)
        other.bound = True
        return other

    def for_rows_of(self, tenant: str) -> Self:
        """The same database, with all rows; new ones are this tenant's."""
        other = copy.copy(self)
        other.tenant, other.bound = tenant, False
        return other

    def patient(self, seconds: float) -> Self:
        """The same database for whoever can wait: where its server is away, a transaction begins when it is back.

        Nothing has been sent before a transaction begins, so nothing is done twice. One that is cut off in the middle
        fails: whether its commit was done nobody here can tell.
        """
        other = copy.copy(self)
        other.patience = 0.0 if self.is_sqlite else seconds
        return other

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes: committed at the end of the block, rolled back on an error."""
        with self._connect().execution_options(autoloader_write=True) as connection, connection.begin():
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        options = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._connect().execution_options(**options) as connection, connection.begin():
            yield connection

    def _connect(self) -> Connection:
        options = {tenancy.TENANT: self.tenant, tenancy.BOUND: self.bound}
        return self._connected().execution_options(**options)

    def _connected(self) -> Connection:
        if not self.patience:
            return self.engine.connect()
        for attempt in stamina.retry_context(
            on=OperationalError, attempts=None, timeout=self.patience, wait_initial=0.2, wait_max=1.0, wait_jitter=0.2
        ):
            with attempt:
                return self.engine.connect()
        raise AssertionError("stamina gives a connection, or raises")

    @property
    def clock(self) -> ColumnElement[float]:
        """The database's own time in epoch seconds with fractions, at the moment of the statement.

        Leases of several hosts are compared by this one clock. (SQLite before 3.42 has no `unixepoch('subsec')`;
        `julianday` is good to the millisecond in each.)
        """
        if self.is_sqlite:
            return literal_column("((julianday('now') - 2440587.5) * 86400.0)", Float)
        return literal_column("cast(extract(epoch from clock_timestamp()) as double precision)", Float)

    def close(self) -> None:
        self.engine.dispose()


def sqlite_url(file: Path) -> URL:
    """The URL of a SQLite file, whatever its path holds."""
    return URL.create("sqlite", database=str(file))


def _configure_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # SQLAlchemy's transactions are begun by `_begin_sqlite`, not by the driver.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000}")
    # FULL: a record that said SUCCESS must not be undone by a power cut.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("autoloader_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _check_sqlite_place(url: URL) -> None:
    if url.database in (None, "", ":memory:"):
        raise ValueError(
            "the ledger needs a file or a server: an in-memory SQLite database is gone with its connection"
        )
    place = Path(str(url.database)).resolve()
    kind = _file_system_of(place)
    if kind in _NETWORK_FILE_SYSTEMS or (kind or "").startswith("fuse.sshfs"):
        raise ValueError(
            f"the SQLite ledger {place} is on a network file system ({kind}), where its locks do not hold. "
            "Set AUTOLOADER_HOME to a local folder, or AUTOLOADER_DATABASE_URL to a PostgreSQL database."
        )


def _file_system_of(place: Path) -> str | None:
    mounts = {Path(p.mountpoint): p.fstype for p in psutil.disk_partitions(all=True)}
    for folder in (place, *place.parents):
        if folder in mounts:
            return str(mounts[folder]).lower()
    return None
