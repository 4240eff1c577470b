"""What the processes that share one local server know of it: the folder ``spark`` in the state folder.

``pid`` holds the server's pid alone, ``server.json`` (0600) all of it, ``users/`` one file for each use by a
process (its pid and start time), ``server.log`` what it and its supervisor say, ``tmp/`` its temporary files.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from autoloader_server.spark.processes import ProcessIdentity, listens_on, write_private

_TAIL_LINES = 40


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, or the memory of one."""

    jvm: ProcessIdentity
    supervisor: ProcessIdentity
    port: int
    token: str

    def __repr__(self) -> str:
        return f"Server(pid={self.jvm.pid}, port={self.port})"

    @property
    def url(self) -> str:
        # With a token, every host name but `localhost` means TLS to the client: it would hang.
        return f"sc://localhost:{self.port}/;token={self.token}"

    def answers(self) -> bool:
        """Whether this very process still lives and is the one that listens on the port."""
        return self.jvm.alive() and listens_on(self.jvm.pid, self.port)


class SparkFolder:
    """The files of ``<home>/spark``; whoever changes who serves holds :meth:`lock`."""

    def __init__(self, home: Path) -> None:
        self.home = home.absolute()
        self.path = self.home / "spark"
        self.pid_file = self.path / "pid"
        self.server_file = self.path / "server.json"
        self.log = self.path / "server.log"
        self._users = self.path / "users"
        self._scratch = self.path / "tmp"

    def create(self) -> None:
        for folder in (self._users, self._scratch):
            folder.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)
        (self.home / "lake" / "warehouse").mkdir(parents=True, exist_ok=True)

    def lock(self) -> FileLock:
        return FileLock(self.path / "lock")

    def server(self) -> Server | None:
        """Who was last written down to serve here; whether it still does is another question."""
        try:
            found = json.loads(self.server_file.read_text(encoding="utf-8"))
            return Server(
                jvm=ProcessIdentity(**found["jvm"]),
                supervisor=ProcessIdentity(**found["supervisor"]),
                port=int(found["port"]),
                token=str(found["token"]),
            )
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None

    def write_server(self, server: Server) -> None:
        write_private(self.server_file, json.dumps(asdict(server)))
        write_private(self.pid_file, f"{server.jvm.pid}\n")

    def forget_server(self, pid: int) -> None:
        """Take away what is written of the server with this pid, unless another has taken its place."""
        server = self.server()
        if server is None or server.jvm.pid == pid:
            self.pid_file.unlink(missing_ok=True)
            self.server_file.unlink(missing_ok=True)

    def add_user(self, user: ProcessIdentity, name: str) -> None:
        """Note a use of the server by a process; ``name`` tells several uses in one process apart."""
        write_private(self._users / f"{user.pid}-{name}", user.to_json())

    def remove_user(self, user: ProcessIdentity, name: str) -> None:
        (self._users / f"{user.pid}-{name}").unlink(missing_ok=True)

    def users(self) -> list[ProcessIdentity]:
        """Whose uses of the server last, one entry a use; the files of dead processes are taken away."""
        living: list[ProcessIdentity] = []
        for file in self._users.glob("[0-9]*"):
            with suppress(FileNotFoundError):
                user = ProcessIdentity.from_json(file.read_text(encoding="utf-8"))
                if user is not None and user.alive():
                    living.append(user)
                else:
                    file.unlink()
        return living

    def new_scratch(self, owner: ProcessIdentity) -> Path:
        """A folder for the temporary files of ``owner``'s server; those of dead owners are taken away."""
        for old in self._scratch.iterdir():
            pid = int(old.name) if old.name.isdigit() else None
            if pid in (None, owner.pid) or ProcessIdentity.of(pid) is None:
                shutil.rmtree(old, ignore_errors=True)
        scratch = self._scratch / str(owner.pid)
        scratch.mkdir(mode=0o700)
        return scratch

    def log_tail(self) -> str:
        """The last lines of the log, for an error message."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return "(no log)"
        return "\n".join(lines[-_TAIL_LINES:])
