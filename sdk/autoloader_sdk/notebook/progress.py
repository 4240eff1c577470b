"""Progress of a run: a block that updates in a notebook, a bar in a terminal, a line in ten seconds in a log.

A block made with `display(…, display_id=True)` updates from any thread, is saved with the notebook and works
under papermill.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from autoloader_sdk.models import FINISHED
from autoloader_sdk.notebook.display import left, run_html, run_line, run_text

if TYPE_CHECKING:
    from autoloader_sdk.models import RunData


_BAR = 20  # characters
_LOG_SECONDS = 10.0


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
    """A function to call with each state of a run.

    `always`: in a log the first and the last line come at once; else a run that is over within ten seconds leaves none.
    """
    if _in_notebook():
        yield _notebook()
    elif sys.stderr is not None and sys.stderr.isatty():
        yield _terminal()
    elif sys.stderr is not None:  # as under pythonw
        yield _lines(at_once=always)
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
    """One line that is written over each second, with a bar as soon as there is one; the last one stays."""
    started = clock()
    last = started - 1

    def show(run: RunData) -> None:
        nonlocal last
        now = clock()
        ended = run.status in FINISHED
        if ended or now - last >= 1:
            last = now
            part = left(run)
            filled = 0 if part is None else round(part[0] * _BAR)
            bar = "" if part is None else "█" * filled + "░" * (_BAR - filled) + " "
            line = f"{now - started:6.1f} s  {bar}{run_line(run)}"
            width = shutil.get_terminal_size().columns
            shown = line if ended else line[: width - 1]
            print(f"\r\x1b[K{shown}", end="\n" * ended, file=sys.stderr, flush=True)  # noqa: T201

    return show


def _lines(clock: Callable[[], float] = time.monotonic, *, at_once: bool = True) -> Callable[[RunData], object]:
    """For a log: one line in ten seconds, and the last one; the first one `at_once` or after ten seconds."""
    last = clock() - (_LOG_SECONDS if at_once else 0.0)
    spoken = at_once

    def show(run: RunData) -> None:
        nonlocal last, spoken
        now = clock()
        if now - last >= _LOG_SECONDS or (run.status in FINISHED and spoken):
            last, spoken = now, True
            say(run_line(run))

    return show
