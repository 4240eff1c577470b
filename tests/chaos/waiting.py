"""Wait for a condition, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_LOOK_SECONDS = 0.02


def until(look: Callable[[], T], what: str, seconds: float = 60) -> T:
    """The first true answer of `look`. AssertionError, which names `what`, where none comes in time."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(_LOOK_SECONDS)
    return found
