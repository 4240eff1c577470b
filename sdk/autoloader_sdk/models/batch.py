"""A batch: the files that one write loads, under one id."""

from autoloader_sdk.models.base import AnswerModel, Moment


class BatchData(AnswerModel):
    """A batch as a service answers it; `bytes` are those of its files, `records` the rows that were staged or loaded.

    `status` is OPEN, HELD, LANDED, BURNING or BURNED, or a word of a later service; `reason` says why it is held or
    was burned.
    """

    id: str
    ingestion_id: str | None = None
    run_id: str | None = None
    status: str = ""
    reason: str | None = None
    files: int | None = None
    bytes: int | None = None
    records: int | None = None
    created_at: Moment | None = None
    ended_at: Moment | None = None
