"""Places between the steps of a load at which a test may kill something.

`AUTOLOADER_KILL_AT=staged` kills this process (SIGKILL) when it gets there, `staged:3` at the third time;
`staged=spark` kills the local Spark server instead, `staged=stop` stops this process (SIGSTOP), `staged=error` raises
an OSError. Without the variable `reach` does nothing. `tests/chaos` walks through all of `POINTS`, `REFRESH_POINTS`
and `DECISION_POINTS`.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from pathlib import Path

import psutil

POINTS = (
    "run_started",
    "settled",
    "discovered",
    "inspected",
    "table_made",
    "prepared",
    "columns_intended",
    "column_widened",
    "columns_added",
    "claimed",
    "branch_created",
    "quarantine_staged",
    "stage_failed",
    "staged",
    "stage_recorded",
    "audited",
    "held",
    "judged",
    "quarantine_published",
    "publishing",
    "published",
    "recorded",
    "drop_intended",
    "columns_dropped",
    "branch_dropped",
    "burning",
    "burn_branch_created",
    "burn_staged",
    "burned",
    "quarantine_burned",
    "burn_recorded",
    "settle_waited",
    "taken_over",
    "settle_found",
    "claimed_again",
)
# Of a refresh, which is no part of a run.
REFRESH_POINTS = ("refresh_begun", "table_dropped", "files_cleared")
# Of a call about a held batch.
DECISION_POINTS = ("batch_released", "batch_dropped")

_DEATH_SECONDS = 30.0
_seen: Counter[str] = Counter()


def reach(point: str, home: Path) -> None:
    """Say that the work got to `point`."""
    wanted = os.environ.get("AUTOLOADER_KILL_AT")
    if not wanted:
        return
    where, _, victim = wanted.partition("=")
    name, _, nth = where.partition(":")
    if name != point:
        return
    _seen[point] += 1
    if _seen[point] != int(nth or 1):
        return
    match victim or "worker":
        case "worker":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            # To this very thread: one sent to the process lets it run on until another thread has taken it.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        case "error":
            raise OSError(f"told to fail at {point}")
        case "spark":
            server = psutil.Process(int((home / "spark" / "pid").read_text()))
            server.kill()
            server.wait(_DEATH_SECONDS)
        case other:
            raise ValueError(f"AUTOLOADER_KILL_AT={wanted}: {other!r} is none of worker, spark, stop, error")
