"""Progress of a run: a block that updates in a notebook, lines in a terminal, nothing where is neither.

A block made with `display(…, display_id=True)` updates from any thread, is saved with the notebook and works
under papermill.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from autoloader_sdk.models import FINISHED
from autoloader_sdk.notebook.display import run_html, run_line, run_text

if TYPE_CHECKING:
    from autoloader_sdk.models import RunData


def say(line: str) -> None:
    """One line to the person at the terminal, out of the way of what a script prints."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


class _Block:
    """What IPython displays: both representations at once."""

    def __init__(self, run: RunData) -> None:
        self._run = run

    def _repr_html_(self) -> str:
        return run_html(self._run)

    def __repr__(self) -> str:
        return run_text(self._run)


@contextmanager
def progress(*, always: bool = False) -> Iterator[Callable[[RunData], object]]:
    """A function to call with each state of a run; `always`: plain lines also where nobody seems to look."""
    if _in_notebook():
        yield _notebook()
    elif sys.stderr is not None and sys.stderr.isatty():
        yield _terminal()
    elif always:
        yield _lines()
    else:
        yield lambda _: None


def _in_notebook() -> bool:
    """Whether a front end that shows HTML is on the other side; IPython is asked only if it is loaded."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return shell is not None and getattr(shell, "kernel", None) is not None


def _notebook() -> Callable[[RunData], object]:
    from IPython.display import display

    handle: Any = None
    shown = ""

    def show(run: RunData) -> None:
        nonlocal handle, shown
        now = run_html(run)
        if handle is None:
            handle = display(_Block(run), display_id=True)  # type: ignore[no-untyped-call]
        elif now != shown:
            handle.update(_Block(run))
        shown = now

    return show


def _terminal(clock: Callable[[], float] = time.monotonic) -> Callable[[RunData], object]:
    """One line a second, and the last one at once."""
    started = clock()
    last = started - 1

    def show(run: RunData) -> None:
        nonlocal last
        now = clock()
        if run.status in FINISHED or now - last >= 1:
            last = now
            say(f"{now - started:6.1f} s  {run_line(run)}")

    return show


def _lines() -> Callable[[RunData], object]:
    """One line for each change; that time went by is none."""
    shown = ""

    def show(run: RunData) -> None:
        nonlocal shown
        state = run.model_dump_json(exclude={"metrics": {"duration_seconds"}})
        if state != shown:
            shown = state
            say(run_line(run))

    return show
