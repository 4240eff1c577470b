"""What the flow adds to a run: the same files loaded by Prefect's flow and directly, in one warm process.

Both are timed to the end of their last work, the tidying after a run's end included.
"""

from __future__ import annotations

import os
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.parts import prefect_server

from benchmarks.data import write_json
from benchmarks.figures import Figure, below, in_turns
from benchmarks.place import Place, arrive, place

if TYPE_CHECKING:
    from collections.abc import Callable

_FILES = 50
_SIZE = 50_000


def measure() -> list[Figure]:
    with place() as here, prefect_server.running(here.folder):
        # Where the flow, too, finds the ledger; it looks when it is imported.
        os.environ["AUTOLOADER_HOME"] = str(here.folder / "home")
        from autoloader_flows import process
        from autoloader_flows.ingestion import run_ingestion_flow

        paths = write_json(here.folder / "files", _FILES, _SIZE)
        direct, flow = _Arrivals(here, paths, "direct"), _Arrivals(here, paths, "flow")
        try:
            took = in_turns(
                {
                    "run": lambda: direct.timed(lambda ingestion: _run(here, ingestion)),
                    "flow": lambda: flow.timed(lambda ingestion: run_ingestion_flow(ingestion_id=ingestion.id)),
                },
                rounds=7,
                warmups=2,
            )
        finally:
            process.close()
            del os.environ["AUTOLOADER_HOME"]
    return [below("the flow over a direct run", took["flow"] - took["run"], 1.5, "s")]


class _Arrivals:
    """An ingestion into whose folder the same files arrive again and again, under new names."""

    def __init__(self, here: Place, paths: list[str], name: str) -> None:
        self._paths = paths
        self._source = here.folder / name
        self._source.mkdir()
        self._ingestion = here.ingestion(self._source)
        self._numbers = count()

    def timed(self, load: Callable[[Any], object]) -> float:
        arrive(self._paths, Path(self._source / f"arrival-{next(self._numbers)}"))
        start = time.perf_counter()
        load(self._ingestion)
        return time.perf_counter() - start


def _run(here: Place, ingestion: Any) -> None:
    run = ingestion.run()
    # Polling would add to what is measured.
    here.client._link._embedded.service.wait_idle()  # type: ignore[attr-defined]  # noqa: SLF001
    run.reload()
    if run.status != "success":
        raise RuntimeError(str(run))
