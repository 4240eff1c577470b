"""How far a run is, on stderr: a bar in a terminal, now and then a line in a log."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from autoloader_sdk.models import RunData
    from autoloader_sdk.runs import Run

# Seconds between two lines of a log.
_EVERY = 10.0


@contextmanager
def shown() -> Iterator[Callable[[Run[Any]], None]]:
    """A function for `Run.wait(on_update=…)`."""
    if not sys.stderr.isatty():
        yield lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[did]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("queued", total=None, did="")

        def show(run: Run[Any]) -> None:
            done, planned = _files(run.data)
            progress.update(bar, description=run.status, completed=done, total=planned, did=did(run.data))

        yield show


@contextmanager
def busy(with_what: str) -> Iterator[None]:
    """Tell somebody at a terminal that it goes on."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(with_what):
        yield


def lines(clock: Callable[[], float] = time.monotonic) -> Callable[[Run[Any]], None]:
    """One line in ten seconds; the first after as many, so that a short run says only how it ended."""
    last = clock()

    def show(run: Run[Any]) -> None:
        nonlocal last
        if not run.done and clock() - last >= _EVERY:
            last = clock()
            typer.echo(f"{run.status}: {did(run.data)}", err=True)

    return show


def did(run: RunData) -> str:
    """Files done of those planned, rows, and how many of these a second."""
    done, planned = _files(run)
    rows, seconds = run.metrics.records_ingested or 0, run.metrics.duration_seconds or 0
    files = f"{done:,} files" if planned is None else f"{done:,}/{planned:,} files"
    rate = f", {rows / seconds:,.0f} rows/s" if rows and seconds else ""
    return f"{files}, {rows:,} rows{rate}"


def _files(run: RunData) -> tuple[int, int | None]:
    """How many are done, and how many were found to do; None where the service has not said so."""
    done = (run.metrics.files_processed or 0) + (run.metrics.error_count or 0)
    planned = run.metrics.files_planned
    return (min(done, planned), planned) if planned else (done, None)
