"""A worker as a process of its own: asks for one run of an ingestion, or for something else, and carries it out.

`AUTOLOADER_KILL_AT` says where it is to be killed. Its exit code tells how its run ended (`EXIT_CODES`), its last line
on stdout is the run as JSON. It is forked off a process that has imported everything and done nothing: the imports are
a third of a worker's life.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from tests.chaos.waiting import until

from autoloader_sdk.models import FINISHED, RefreshRequest
from autoloader_server.db.engine import DATABASE_AWAY
from autoloader_server.service import Service
from autoloader_server.services import batches, runs
from autoloader_server.services.batches import Decision
from autoloader_server.services.refresh import Mode, refresh
from autoloader_server.settings import Settings

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

# A refresh of one of two modes, or the word about the newest batch that is held.
Ask = Mode | Decision
EXIT_CODES = {"success": 0, "partial": 3, "failed": 4, "cancelled": 5}
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__, "autoloader_server.engine.run", "pandas", "pyspark.sql.connect.session"])
# A run may wait for another worker's lease, and for a Spark server that starts.
_RUN_SECONDS = 150.0
# Short, so that a lease ends while a test waits.
_LEASE_SECONDS = 3
# Of a worker that is to be stopped at a point: were its thread just renewing its lease then, it would
# sleep with the ledger's write lock, as SQLite has it. The test ends this lease itself.
LONG_LEASE_SECONDS = 600


def settings(home: Path, database_url: str, lease_seconds: int = _LEASE_SECONDS) -> Settings:
    return Settings.load(
        home=home,
        database_url=database_url,
        lease_seconds=lease_seconds,
        lease_renew_seconds=max(1, lease_seconds // 3),
        check_beside_bytes=0,
    )


def carry_out(service: Service, ingestion_id: str, ask: Ask | None = None) -> dict[str, Any]:
    """Ask for a run, a refresh, or a held batch; carry it out here until its threads have ended; the run then."""
    if ask is None:
        run_id = runs.request(service, ingestion_id).run_id
    elif ask in ("release", "drop"):
        held = batches.find(service, ingestion_id, status=["HELD"]).items[0]
        run_id = batches.decide(service, ingestion_id, held.id, ask).run_id
    else:
        answer = refresh(service, ingestion_id, RefreshRequest(confirm=True), ask)  # type: ignore[arg-type]  # `in` narrows no Literal
        assert answer.status == "accepted", answer
        run_id = answer.run_id
    assert run_id is not None

    def ended() -> bool:
        try:
            return runs.get(service, ingestion_id, run_id).status in FINISHED
        except DATABASE_AWAY:
            # The run waits for it, too.
            return False

    until(ended, f"the end of run {run_id}", _RUN_SECONDS)
    if not service.queue.wait_idle(_RUN_SECONDS):
        raise AssertionError(f"run {run_id} has ended, but its thread has not")
    return runs.get(service, ingestion_id, run_id).model_dump(mode="json")


@dataclass
class Worker:
    """A worker process, as its test sees it."""

    process: ForkServerProcess
    output: Path

    @classmethod
    def start(
        cls,
        home: Path,
        database_url: str,
        ingestion_id: str,
        output: Path,
        kill_at: str | None = None,
        ask: Ask | None = None,
        lease_seconds: int | None = None,
    ) -> Worker:
        if lease_seconds is None:
            lease_seconds = LONG_LEASE_SECONDS if (kill_at or "").endswith("=stop") else _LEASE_SECONDS
        environment = {name: value for name, value in os.environ.items() if name != "AUTOLOADER_KILL_AT"}
        if kill_at is not None:
            environment["AUTOLOADER_KILL_AT"] = kill_at
        process = _FORKS.Process(
            target=main, args=(environment, output, home, database_url, ingestion_id, lease_seconds, ask), daemon=True
        )
        process.start()
        return cls(process, output)

    def wait(self, seconds: float = _RUN_SECONDS) -> int:
        """Its exit code, negative for a signal."""
        self.process.join(seconds)
        code = self.process.exitcode
        if code is None:
            self.end()
            raise AssertionError(f"the worker did not end in {seconds:.0f} s:\n{self.said()}")
        return code

    @property
    def ended(self) -> bool:
        return self.process.exitcode is not None

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def wait_until_stopped(self, seconds: float = _RUN_SECONDS) -> None:
        """Wait for the SIGSTOP that its kill point sends."""
        process = psutil.Process(self.pid)

        def stopped() -> bool:
            assert not self.ended, f"the worker ended before its point:\n{self.said()}"
            return bool(process.status() == psutil.STATUS_STOPPED)

        until(stopped, "the worker stops at its point", seconds)

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        self.wait_until_stopped()

    def wake(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def end(self) -> None:
        """Kill it, stopped or not; nothing where it has ended."""
        if not self.ended:
            self.process.kill()
            self.process.join()

    def said(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def run(self) -> dict[str, Any]:
        """The run that it told of at its end."""
        found: dict[str, Any] = json.loads(self.said().strip().splitlines()[-1])
        return found


def main(
    environment: dict[str, str],
    output: Path,
    home: Path,
    database_url: str,
    ingestion_id: str,
    lease_seconds: int,
    ask: Ask | None,
) -> None:
    """What the process does; its environment is that of whoever started it."""
    os.environ.clear()
    os.environ.update(environment)
    with output.open("w", encoding="utf-8") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    service = Service.open(settings(home, database_url, lease_seconds))
    try:
        run = carry_out(service, ingestion_id, ask)
    finally:
        service.close()
    sys.stdout.write(f"{json.dumps(run)}\n")
    sys.exit(EXIT_CODES[run["status"]])
