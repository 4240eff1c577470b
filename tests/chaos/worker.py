"""A worker as a process of its own: asks for one run of an ingestion, or for something else, and carries it out.

`python -m tests.chaos.worker HOME DATABASE_URL INGESTION_ID LEASE_SECONDS [full|new_only|release|drop]`;
`AUTOLOADER_KILL_AT` says where it is to be killed. Its exit code tells how its run ended (`EXIT_CODES`), its last line
on stdout is the run as JSON.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from tests.chaos.waiting import until

from autoloader_sdk.models import FINISHED, RefreshRequest
from autoloader_server.db.engine import DATABASE_AWAY
from autoloader_server.service import Service
from autoloader_server.services import batches, runs
from autoloader_server.services.batches import Decision
from autoloader_server.services.refresh import Mode, refresh
from autoloader_server.settings import Settings

# A refresh of one of two modes, or the word about the newest batch that is held.
Ask = Mode | Decision
EXIT_CODES = {"success": 0, "partial": 3, "failed": 4, "cancelled": 5}
_ROOT = Path(__file__).parents[2]
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
        answer = refresh(service, ingestion_id, RefreshRequest(confirm=True), ask)
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

    process: subprocess.Popen[str]
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
        with output.open("w", encoding="utf-8") as file:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.chaos.worker"),
                    *(str(home), database_url, ingestion_id, str(lease_seconds)),
                    *([] if ask is None else [ask]),
                ],
                cwd=_ROOT,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
            )
        return cls(process, output)

    def wait(self, seconds: float = _RUN_SECONDS) -> int:
        """Its exit code, negative for a signal."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.end()
            raise AssertionError(f"the worker did not end in {seconds:.0f} s:\n{self.said()}") from None

    def wait_until_stopped(self, seconds: float = _RUN_SECONDS) -> None:
        """Wait for the SIGSTOP that its kill point sends."""
        process = psutil.Process(self.process.pid)

        def stopped() -> bool:
            assert self.process.poll() is None, f"the worker ended before its point:\n{self.said()}"
            return bool(process.status() == psutil.STATUS_STOPPED)

        until(stopped, "the worker stops at its point", seconds)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        self.wait_until_stopped()

    def wake(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Kill it, stopped or not; nothing where it has ended."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def said(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def run(self) -> dict[str, Any]:
        """The run that it told of at its end."""
        found: dict[str, Any] = json.loads(self.said().strip().splitlines()[-1])
        return found


def main(home: str, database_url: str, ingestion_id: str, lease_seconds: str, ask: Ask | None = None) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    service = Service.open(settings(Path(home), database_url, int(lease_seconds)))
    try:
        run = carry_out(service, ingestion_id, ask)
    finally:
        service.close()
    sys.stdout.write(f"{json.dumps(run)}\n")
    return EXIT_CODES[run["status"]]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))  # type: ignore[arg-type] - one of four words
