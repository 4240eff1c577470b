"""The process that owns the local Spark Connect server: starts it, watches its users, ends it.

Run as ``python -m autoloader_server.spark.supervisor <home>``, with a :class:`Launch` on stdin. It leaves the
terminal and the process group of its starter, so that Ctrl-C there ends neither it nor the server, and prints
its pid. Everything it then has to say goes to ``spark/server.log``.
"""

from __future__ import annotations

import ctypes
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from autoloader_server.spark.archive import make_archive
from autoloader_server.spark.catalog import catalog_file, make_catalog
from autoloader_server.spark.launch import Launch, class_list, java_arguments, java_environment, server_confs
from autoloader_server.spark.processes import ProcessIdentity, listens_on, write_private
from autoloader_server.spark.state import Server, SparkFolder

_log = logging.getLogger("autoloader.spark.supervisor")

_LOOK_SECONDS = 0.5
_STOP_SECONDS = 30.0
_START_SECONDS = 120.0
_PORTS_TRIED = 5


class _Asked(BaseException):
    """SIGTERM arrived: somebody asked for the end."""


def supervise(folder: SparkFolder, launch: Launch) -> int:
    """Start the server, and return when it has ended, for whatever reason; 0 where that was intended."""
    me = ProcessIdentity.of()
    assert me is not None
    scratch = folder.new_scratch(me)
    jvm: subprocess.Popen[bytes] | None = None
    try:
        jvm = _start(folder, launch, me, scratch)
        if jvm is None:
            return 1
        if _watch(folder, launch, jvm):
            _end(folder, jvm)
            _archive(launch, scratch)
    except _Asked:
        _log.info("asked to stop")
    finally:
        _ignore_signals()
        if jvm is not None:
            _end(folder, jvm)
        shutil.rmtree(scratch, ignore_errors=True)
    return 0


def _start(folder: SparkFolder, launch: Launch, me: ProcessIdentity, scratch: Path) -> subprocess.Popen[bytes] | None:
    """A server that accepts connections, or None; why not is in the log then."""
    make_catalog(catalog_file(folder.home))
    for _ in range(_PORTS_TRIED):
        port, token = free_port(), secrets.token_urlsafe(32)
        confs = server_confs(folder.home, port=port, token=token, scratch=scratch)
        arguments = scratch / "java.args"
        write_private(arguments, java_arguments(launch, confs, scratch=scratch))
        jvm = subprocess.Popen(
            [launch.java, f"@{arguments}"],
            stdin=subprocess.DEVNULL,
            cwd=scratch,
            env=java_environment(scratch),
            preexec_fn=_die_with_parent(),  # noqa: PLW1509 - this process has one thread
        )
        identity = ProcessIdentity.of(jvm.pid)
        if identity is not None:
            folder.write_server(Server(jvm=identity, supervisor=me, port=port, token=token))
        try:
            if _answers(jvm, port):
                arguments.unlink()
                return jvm
        except _Asked:
            _end(folder, jvm)
            raise
        _end(folder, jvm)
        # Between our look and the server's bind somebody else may have taken the port.
        if "BindException" not in folder.log_tail():
            break
    return None


def _answers(jvm: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if listens_on(jvm.pid, port):
            return True
        try:
            code = jvm.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
        _log.error("the server ended at its start, exit code %s", code)
        return False
    _log.error("the server did not listen on its port within %.0f s", _START_SECONDS)
    return False


def _watch(folder: SparkFolder, launch: Launch, jvm: subprocess.Popen[bytes]) -> bool:
    """True when nobody has used the server for ``idle_seconds``, False when it died or its folder is gone."""
    idle_since: float | None = None
    while True:
        try:
            code = jvm.wait(timeout=_LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        else:
            _log.error("the server ended by itself, exit code %s", code)
            return False
        now = time.monotonic()
        if not folder.path.is_dir():
            return False
        if folder.users():
            idle_since = None
        elif idle_since is None:
            idle_since = now
        if idle_since is None or now - idle_since < launch.idle_seconds:
            continue
        # Who comes now either is seen here as a user, or finds no server and starts another.
        with folder.lock():
            if not folder.users():
                folder.forget_server(jvm.pid)
                _log.info("unused for %.0f s: stopping", launch.idle_seconds)
                return True


def _end(folder: SparkFolder, jvm: subprocess.Popen[bytes]) -> None:
    """Stop the server, gently first, and take its traces away."""
    jvm.terminate()
    try:
        jvm.wait(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        jvm.kill()
        jvm.wait()
    folder.forget_server(jvm.pid)


def _archive(launch: Launch, scratch: Path) -> None:
    """Make the next start quicker, now that nobody waits: half a minute of one core, once."""
    if not class_list(scratch).is_file():
        return
    os.nice(19)
    try:
        archive = make_archive(launch.java, launch.jars, class_list(scratch))
    except subprocess.CalledProcessError as error:
        _log.warning("no class-data archive, starts stay slow: %s", str(error.stdout)[-2000:])
    else:
        _log.info("class-data archive: %s", archive or "another process is writing it")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> Callable[[], None] | None:
    """On Linux the kernel ends the server with its supervisor; elsewhere the next starter ends it."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def before_exec() -> None:
        prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)

    return before_exec


def _ignore_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _on_term(_number: int, _frame: FrameType | None) -> None:
    raise _Asked


def main(home: str) -> int:
    launch = Launch.from_json(sys.stdin.read())
    folder = SparkFolder(Path(home))
    child = os.fork()
    if child:
        sys.stdout.write(f"{child}\n")
        return 0
    os.setsid()
    log = os.open(folder.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s supervisor: %(message)s")
    _ignore_signals()
    signal.signal(signal.SIGTERM, _on_term)
    return supervise(folder, launch)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
