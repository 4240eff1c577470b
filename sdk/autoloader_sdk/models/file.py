"""A file version in the ledger."""

from enum import StrEnum

from autoloader_sdk.models.base import AnswerModel, Moment


class FileStatus(StrEnum):
    """What became of a file version."""

    DISCOVERED = "DISCOVERED"
    """It waits."""
    PROCESSING = "PROCESSING"
    """It is in a batch that has neither landed nor been burned."""
    SUCCESS = "SUCCESS"
    """It is in the table."""
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    """It is no data, or another version took its place."""
    HELD = "HELD"
    """It changed after it was loaded."""
    QUARANTINED = "QUARANTINED"


class FileData(AnswerModel):
    """One content of one path and what became of it; `size` is in bytes, `records` in rows.

    `bad_records` of its records were rescued or set aside.

    `status` is a `FileStatus`, or one of a later service.
    """

    path: str
    status: str = ""
    reason: str | None = None
    size: int | None = None
    etag: str | None = None
    modified_at: Moment | None = None
    records: int | None = None
    bad_records: int | None = None
    run_id: str | None = None
    batch_id: str | None = None
    attempts: int | None = None
    first_seen_at: Moment | None = None
    loaded_at: Moment | None = None


class FileVerdict(AnswerModel):
    """Why a file is in the table, or is not: `sentence`; `file` is its newest version, None where none is known."""

    path: str
    in_table: bool
    sentence: str
    file: FileData | None = None
    versions: int = 0
