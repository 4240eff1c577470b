"""How a run, a batch or a file fails.

RunStopped           the run cannot go on; its message is what the user reads
├── TableChanged     the table was dropped, replaced or rolled back behind our back, or belongs to another ledger
├── NeedsRepair      nobody can tell any more whether a batch landed; a person must decide
└── RunCancelled     somebody asked for it
LeaseLost            another worker owns this work now: stop without a word
GenerationChanged    the ingestion was cleared or deleted meanwhile: this batch must be burned
BatchRefused         some files of a staged batch cannot stay in it: it must be burned and cut again
"""

from __future__ import annotations

from dataclasses import dataclass

from autoloader_server.spark.errors import first_line

DATA_MALFORMED = "data_malformed"
SCHEMA_MISMATCH = "schema_mismatch"
AUTH = "auth"
CONNECTIVITY = "connectivity"
MISSING = "missing"
WRITE_FAILURE = "write_failure"
UNKNOWN = "unknown"
CONFIGURATION = "configuration"
INTERRUPTED = "interrupted"
INTERNAL = "internal"

CANCELLED = "cancelled; what had not been published is not in the table"


def fault_of_ours(error: Exception) -> str:
    """The message of a run that ended by an error of the autoloader itself."""
    return f"an error in the autoloader itself: {type(error).__name__}: {first_line(error)}"


# What another attempt may cure without anybody touching the file.
RETRYABLE = frozenset({AUTH, CONNECTIVITY, MISSING, UNKNOWN})


@dataclass(frozen=True, slots=True)
class FileFailure:
    """Why one file is not loaded: a category of the list above and one plain sentence."""

    path: str
    category: str
    message: str

    @property
    def retryable(self) -> bool:
        return self.category in RETRYABLE


class RunStopped(Exception):
    """The run ends as failed, with this message. `category` is its error type on the wire."""

    category = UNKNOWN

    def __init__(self, message: str, category: str | None = None) -> None:
        super().__init__(message)
        if category is not None:
            self.category = category


class TableChanged(RunStopped):
    """The table is not the one that this ingestion has loaded into."""

    category = "table_changed"


class NeedsRepair(RunStopped):
    """The proof whether a batch landed is gone; the ingestion gets status `error` until a person decides."""

    category = "needs_repair"


class RunCancelled(RunStopped):
    """The run was cancelled; what it had not published is not in the table."""

    category = "cancelled"


class LeaseLost(Exception):
    """Another worker has taken over; whatever this one still does is refused by the ledger and by the table."""


class GenerationChanged(Exception):
    """The ingestion was cleared, refreshed or deleted since the batch was claimed."""


class BatchRefused(Exception):
    """The batch must be burned. `failures` are its bad files; `stale` paths whose content is another by now."""

    def __init__(self, failures: list[FileFailure], stale: list[str] | None = None) -> None:
        super().__init__(f"{len(failures)} files cannot be loaded, {len(stale or [])} changed meanwhile")
        self.failures = failures
        self.stale = stale or []
