"""Who is a process, beyond its pid: pids are reused, a pid with its start time is not."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import psutil


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process, distinguishable from a later one with the same pid."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int | None = None) -> Self | None:
        """The identity of a living process (default: this one), or None; a zombie does not live."""
        pid = os.getpid() if pid is None else pid
        started = _start_time(pid)
        return None if started is None else cls(pid, started)

    @classmethod
    def from_json(cls, text: str) -> Self | None:
        """What :meth:`to_json` wrote, or None where it is no such text (a write cut off by a kill)."""
        try:
            found = json.loads(text)
            return cls(int(found["pid"]), str(found["started"]))
        except (ValueError, TypeError, KeyError):
            return None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @property
    def boot(self) -> str:
        """The boot of the machine that it belongs to, where the system tells."""
        return self.started.partition(":")[0] if ":" in self.started else ""

    @staticmethod
    def this_boot() -> str:
        """The machine's present boot."""
        return _boot() if _is_linux() else ""

    def alive(self) -> bool:
        return _start_time(self.pid) == self.started


def _start_time(pid: int) -> str | None:
    """When the process started, as an opaque text that never changes while it lives.

    On Linux in clock ticks since boot, with the boot's id: psutil derives its value from the wall clock, and
    two processes that ask before and after a clock step get different answers.
    """
    if not _is_linux():
        try:
            process = psutil.Process(pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
        except psutil.NoSuchProcess:
            return None
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, field 2, is in parentheses and may hold anything, parentheses too.
    fields = stat.rpartition(")")[2].split()
    if fields[0] in "ZX":
        return None
    return f"{_boot()}:{fields[19]}"


def _is_linux() -> bool:
    return sys.platform.startswith("linux")


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def listens_on(pid: int, port: int) -> bool:
    """Whether this very process accepts connections on the TCP port."""
    with suppress(psutil.NoSuchProcess):
        return any(
            connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            for connection in psutil.Process(pid).net_connections(kind="tcp")
        )
    return False


def write_private(path: Path, text: str) -> None:
    """Put ``text`` into ``path`` in one step, readable by the owner only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        draft.unlink()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
