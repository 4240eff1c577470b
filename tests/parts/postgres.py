"""A real PostgreSQL server in a temporary folder, on a free port of 127.0.0.1, and a database for each test.

Made of what Debian's package `postgresql` brings. A server refuses to run as root, so root gives it to another user.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from tests.chaos.waiting import until
from tests.parts.rights import as_user

from autoloader_server.db.engine import Database
from autoloader_server.db.migrate import migrate

_SUPERUSER = "tests"
_SECONDS = 60
_STOPS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
# A crash of the server loses nothing by these, only one of the machine. So many connections: Spark 3.5 keeps each
# session for an hour, and with it those of its catalog.
_QUICK = (
    *("fsync=off", "full_page_writes=off", "wal_level=minimal", "max_wal_senders=0", "max_wal_size=128MB"),
    *("autovacuum=off", "shared_buffers=64MB", "max_connections=1000", "log_min_messages=fatal"),
)


class PostgresMissing(AssertionError):
    """There is no PostgreSQL on this machine: nothing is skipped, the tests fail and say so."""

    def __init__(self) -> None:
        super().__init__(
            "PostgreSQL is not there: neither is initdb on the PATH nor in /usr/lib/postgresql/*/bin. "
            "`make parts` installs it where it can; on Debian and Ubuntu: apt-get install postgresql"
        )


def programs() -> Path:
    """The folder of initdb and postgres. Raises PostgresMissing."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise PostgresMissing
    return found[-1].parent


class PostgresServer:
    """One server. `stop` and `start` leave its data and its port as they are."""

    def __init__(self, folder: Path) -> None:
        self._programs = programs()
        self._data = folder / "data"
        self._log = folder / "server.log"
        self._before: list[str] = []
        if (user := _unprivileged()) is not None:
            folder.chmod(0o755)
            self._data.mkdir()
            os.chown(self._data, *user)
            self._before = as_user(*user)
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._run(
            *(self._programs / "initdb", "--pgdata", self._data, "--username", _SUPERUSER),
            *("--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--no-instructions"),
        )
        self.start()

    def start(self) -> None:
        """Back when it takes connections."""
        settings = (*_QUICK, "listen_addresses=127.0.0.1", "unix_socket_directories=", f"port={self._port}")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._before, self._programs / "postgres", "-D", self._data, *(f"--{each}" for each in settings)],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the tests: they stop it in the end.
                start_new_session=True,
            )
        until(self._answers, "PostgreSQL answers", _SECONDS)

    def stop(self, how: str = "fast") -> None:
        """`immediate` is a crash: connections break, and the next start recovers."""
        if self._process is not None:
            self._process.send_signal(_STOPS[how])
            self._process.wait(_SECONDS)
            self._process = None

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://{_SUPERUSER}@127.0.0.1:{self._port}/{database}"

    def make_database(self, template: str = "template0") -> str:
        """The URL of a new database, a copy of `template`."""
        name = f"test_{next(self._numbers)}"
        self.run_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Whoever is still connected is cut off."""
        self.run_sql(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def run_sql(self, statement: str, database: str = "postgres") -> None:
        engine = create_engine(self.url(database), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(text(statement))
        finally:
            engine.dispose()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"PostgreSQL does not start:\n{self._log.read_text()}"
        try:
            self.run_sql("SELECT 1")
        except OperationalError:
            return False
        return True

    def _run(self, *command: str | Path) -> None:
        subprocess.run([*self._before, *command], cwd="/", check=True, stdout=subprocess.DEVNULL)


@contextmanager
def running() -> Iterator[PostgresServer]:
    """A server for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="autoloader-postgres-", dir=_memory()) as folder:
        server = PostgresServer(Path(folder))
        try:
            yield server
        finally:
            server.stop("immediate")


def migrated_template(server: PostgresServer) -> str:
    """The name of a database with our tables, to be copied from: a tenth of the time of migrating anew."""
    url = server.make_database()
    database = Database(url)
    migrate(database)
    database.close()
    return url.rpartition("/")[2]


def _unprivileged() -> tuple[int, int] | None:
    """User and group to run it as; None is ourselves."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("postgres") or known["nobody"]
    return entry.pw_uid, entry.pw_gid


def _memory() -> Path | None:
    """Memory for the files where there is enough: on a busy disk a new database takes ten times as long."""
    place = Path("/dev/shm")
    roomy = place.is_dir() and os.access(place, os.W_OK) and shutil.disk_usage(place).free > 2 * 2**30
    return place if roomy else None


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
