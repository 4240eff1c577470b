"""The local Spark Connect server of one user and one state folder: found, or started, and stopped."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from autoloader_server.spark.errors import SparkUnavailable
from autoloader_server.spark.jars import ensure_jars
from autoloader_server.spark.java import find_java
from autoloader_server.spark.launch import Launch
from autoloader_server.spark.processes import ProcessIdentity
from autoloader_server.spark.state import Server, SparkFolder

_START_SECONDS = 150.0
_STOP_SECONDS = 45.0
_POLL_SECONDS = 0.05


class LocalSpark:
    """A Spark Connect server on 127.0.0.1 that lives as long as a process uses it, and a little longer.

    Args:
        home: the state folder; ``home/spark`` tells who serves, ``home/lake`` holds the catalog ``lake``.
        idle_seconds: how long the server stays after its last user process is gone.
        memory: the server's heap, as Java's ``-Xmx`` takes it.

    """

    def __init__(self, home: Path, *, idle_seconds: float = 60, memory: str = "2g") -> None:
        self.folder = SparkFolder(home)
        self._idle_seconds = idle_seconds
        self._memory = memory
        self._use = secrets.token_hex(8)

    def ensure(self, progress: Callable[[str], None] | None = None) -> str:
        """The URL of the running server, which is started first where there is none.

        From then on this process counts as a user of the server, until it ends or calls :meth:`release`.

        Args:
            progress: called with a line for each step that takes a while.

        Raises:
            JavaNotFound, JarUnavailable: what the server needs is not there.
            SparkUnavailable: it did not start; the message ends with the tail of its log.

        """
        me = ProcessIdentity.of()
        assert me is not None
        self.folder.create()
        with self.folder.lock():
            self.folder.add_user(me, self._use)
            server = self._serving()
            if server is None:
                server = self._start(progress)
        return server.url

    def pid(self) -> int | None:
        """The pid of the running server, or None."""
        server = self.folder.server()
        return server.jvm.pid if server is not None and server.answers() else None

    def release(self) -> None:
        """This object uses the server no more; others in this process may go on."""
        me = ProcessIdentity.of()
        assert me is not None
        self.folder.remove_user(me, self._use)

    def stop(self) -> None:
        """End the server now, whoever uses it, and wait until it is gone."""
        if not self.folder.path.is_dir():
            return
        with self.folder.lock():
            server = self.folder.server()
            if server is not None:
                _end(server)
                self.folder.forget_server(server.jvm.pid)
            self.release()

    def _serving(self) -> Server | None:
        server = self.folder.server()
        if server is None:
            return None
        if server.supervisor.alive() and server.answers():
            return server
        # Half a server: dead, deaf, or without the supervisor that would end it.
        _end(server)
        self.folder.forget_server(server.jvm.pid)
        return None

    def _start(self, progress: Callable[[str], None] | None) -> Server:
        launch = Launch(
            java=str(find_java()),
            jars=tuple(map(str, ensure_jars(progress))),
            memory=self._memory,
            idle_seconds=self._idle_seconds,
        )
        if progress is not None:
            progress("starting the local Spark server")
        if self.folder.log.is_file():
            self.folder.log.replace(self.folder.log.with_name("server.log.1"))
        started = subprocess.run(
            [sys.executable, "-P", "-m", "autoloader_server.spark.supervisor", str(self.folder.home)],
            input=launch.to_json(),
            capture_output=True,
            text=True,
            check=False,
        )
        if started.returncode != 0:
            message = f"The supervisor of the local Spark server did not start:\n{started.stderr}"
            raise SparkUnavailable(message)
        supervisor = ProcessIdentity.of(int(started.stdout))
        deadline = time.monotonic() + _START_SECONDS
        while supervisor is not None and supervisor.alive() and time.monotonic() < deadline:
            server = self.folder.server()
            if server is not None and server.supervisor == supervisor and server.answers():
                return server
            time.sleep(_POLL_SECONDS)
        message = (
            f"The local Spark server did not start. The end of its log, {self.folder.log}:\n{self.folder.log_tail()}"
        )
        raise SparkUnavailable(message)


def _end(server: Server) -> None:
    """End both processes, where they still are the ones that were written down."""
    if server.supervisor.alive():
        _signal(server.supervisor, signal.SIGTERM)
        _gone(server.supervisor, _STOP_SECONDS)
    for process in (server.supervisor, server.jvm):
        if process.alive():
            _signal(process, signal.SIGKILL)
            _gone(process, _STOP_SECONDS)


def _signal(process: ProcessIdentity, number: signal.Signals) -> None:
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return


def _gone(process: ProcessIdentity, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while process.alive() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
