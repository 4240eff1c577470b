"""When a request is sent once more, and after which pause. The tries themselves are stamina's."""

from __future__ import annotations

import email.utils
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx

# It tells of each further try; without a handler Python would print that bare on stderr.
logging.getLogger("stamina").addHandler(logging.NullHandler())

#: For so many seconds a request is tried again, and no single pause that an answer asks for is longer.
_PATIENCE = 30.0


class NotNow(Exception):
    """An answer that is none yet; `refused`: what was asked was surely not done."""

    def __init__(self, response: httpx.Response, *, refused: bool = True) -> None:
        super().__init__(f"HTTP {response.status_code}")
        self.response = response
        self.refused = refused


class Tries:
    """The failed tries of one request, the first of which was made without stamina.

    That one counts: the first attempt is to raise its error. So stamina, which brings tenacity and asyncio, a tenth of
    what a first call takes, is imported only where something has failed.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._errors: list[Exception] = []

    def failed(self, error: Exception) -> None:
        """One more has failed; told of it twice, it counts once."""
        if not any(error is each for each in self._errors):
            self._errors.append(error)

    def options(self, *, repeatable: bool) -> dict[str, Any]:
        """For `stamina.retry_context`."""
        again = _again(repeatable=repeatable)

        def on(error: Exception) -> bool | float:
            self.failed(error)
            return again(error)

        left = _PATIENCE - (time.monotonic() - self._began)
        return {
            "on": on,
            # The first attempt takes no time any more, so that stamina would not see that there is none left.
            "attempts": 4 if left > 0 else 1,
            "timeout": max(left, 0.001),
            "wait_initial": 0.2,
            "wait_max": 5.0,
            "wait_jitter": 1.0,  # stamina's own: clients that failed together do not come back together
        }

    def may_have_done(self, *, before: Exception | None = None) -> bool:
        """Whether one of them, or of those `before` an error, may have done what was asked."""
        return any(_doubtful(each) for each in self._errors if each is not before)


def _doubtful(error: Exception) -> bool:
    if isinstance(error, NotNow):
        return not error.refused
    return not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)


def _again(*, repeatable: bool) -> Callable[[Exception], bool | float]:
    """Whether a request is sent once more after an error, and after how many seconds if the answer said so.

    What was never sent, or was refused (429), always is. After a broken connection, or from a proxy before a
    service that is not ready, only what is `repeatable`: it may have been done. A slow answer is not asked for twice.
    """

    def again(error: Exception) -> bool | float:
        if isinstance(error, NotNow):
            if not error.refused and not repeatable:
                return False
            pause = retry_after(error.response)
            return True if pause is None else pause <= _PATIENCE and pause
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return not untrusted(error)
        slow = (httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
        return repeatable and isinstance(error, httpx.TransportError) and not isinstance(error, slow)

    return again


def retry_after(response: httpx.Response) -> float | None:
    """The pause that an answer asks for, seconds: `Retry-After` is a number, or a time by the service's clock."""
    said = response.headers.get("Retry-After", "").strip()
    if said.isdecimal():
        return float(said)
    moment, now = moment_of(said), moment_of(response.headers.get("Date")) or datetime.now(UTC)
    return max(0.0, (moment - now).total_seconds()) if moment is not None else None


def moment_of(header: str | None) -> datetime | None:
    """A time in a header; None where there is none, or something else."""
    try:
        found = email.utils.parsedate_to_datetime(header) if header else None
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found is not None and found.tzinfo is None else found


def untrusted(error: Exception) -> bool:
    """Whether a connection failed over the certificate of the other side."""
    return "CERTIFICATE_VERIFY_FAILED" in str(error)
