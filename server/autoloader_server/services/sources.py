"""A source that is listed for an answer, not for a run: what is wrong with it is said of its field."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from autoloader_sdk.discovery.errors import SourceError, SourceForbidden, SourceMissing
from autoloader_server.services.errors import Fault, Invalid, NotDone


@contextmanager
def listed() -> Iterator[None]:
    """Raises Invalid where the source in the block is not there or closed, NotDone where its store does not answer."""
    try:
        yield
    except (SourceMissing, SourceForbidden) as error:
        raise Invalid([Fault(("body", "source", "path"), str(error))]) from error
    except SourceError as error:
        raise NotDone(f"the source cannot be listed now: {error}") from error
