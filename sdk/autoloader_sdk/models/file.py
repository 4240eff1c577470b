"""A file version in the ledger."""

from typing import Literal

from autoloader_sdk.models.base import AnswerModel, Moment

FileStatus = Literal["DISCOVERED", "PROCESSING", "SUCCESS", "FAILED", "SKIPPED", "HELD", "QUARANTINED"]


class FileData(AnswerModel):
    """One content of one path and what became of it; `size` is in bytes, `records` in rows.

    `status` is a `FileStatus`, or one of a later service.
    """

    path: str
    status: str = ""
    reason: str | None = None
    size: int | None = None
    etag: str | None = None
    modified_at: Moment | None = None
    records: int | None = None
    run_id: str | None = None
    batch_id: str | None = None
    attempts: int | None = None
    first_seen_at: Moment | None = None
    loaded_at: Moment | None = None
