"""A run: one execution of an ingestion."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, field_validator

from autoloader_sdk.models.base import AnswerModel, Moment, NoneIsEmpty


class RunStatus(StrEnum):
    """How far a run has come: it waits, goes, or has ended in one of four ways."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"


UNENDED = frozenset({RunStatus.QUEUED, RunStatus.RUNNING})
"""The statuses that a run leaves again."""

FINISHED: frozenset[str] = frozenset(RunStatus) - UNENDED | {"completed"}
"""The statuses after which a run changes no more (`completed` is an older service's word for success).

But for a flow run that Prefect starts again: it carries its run on.
"""


class RunMetrics(AnswerModel):
    """What a run did. Bytes are those of the source (read) and of the table (written), durations are seconds.

    `bad_records`: records that were rescued or set aside, as `on_bad_record` says;
    `files_found`: at the source; `files_planned`: to be loaded by this run, as far as it knows;
    `batches`: how many of its batches are in the table;
    `held`: files held back by a rule; `skipped`: files that are not data; `columns_ignored`: columns of the
    files that `on_schema_change: ignore` left out.
    """

    files_processed: int | None = 0
    records_ingested: int | None = 0
    bytes_read: int | None = 0
    bytes_written: int | None = 0
    duration_seconds: float | None = 0
    error_count: int | None = 0
    bad_records: int | None = 0
    held: int | None = 0
    skipped: int | None = 0
    columns_ignored: int | None = 0
    files_found: int | None = 0
    files_planned: int | None = 0
    batches: int | None = 0


class RunError(AnswerModel):
    """Why one file (or, without a file, the run) failed."""

    file: str | None = None
    error_type: str | None = None
    message: str | None = None
    timestamp: Moment | None = None


class RunLogLine(AnswerModel):
    """One line of a run's log; `level` is info, warning or error."""

    id: int = 0
    timestamp: Moment | None = None
    level: str = "info"
    message: str = ""

    def __str__(self) -> str:
        at = f"{self.timestamp:%Y-%m-%d %H:%M:%S} " if self.timestamp is not None else ""
        return f"{at}{self.level:<7} {self.message}"


class RunData(AnswerModel):
    """A run as a service answers it; `status` is a `RunStatus`, or a word of another version of the service."""

    id: str
    ingestion_id: str | None = None
    started_at: Moment | None = None
    ended_at: Moment | None = None
    status: str = RunStatus.RUNNING.value
    trigger: str | None = None
    metrics: RunMetrics = Field(default_factory=RunMetrics)
    errors: Annotated[list[RunError], NoneIsEmpty] = Field(default_factory=list)
    spark_job_id: str | None = None
    flow_run_id: str | None = None
    message: str | None = None
    step: str | None = None
    created_at: Moment | None = None
    retry_of: str | None = None
    cancel_requested: bool | None = None
    warnings: Annotated[list[str], NoneIsEmpty] = Field(default_factory=list)

    @field_validator("metrics", mode="before")
    @classmethod
    def _null_is_zeros(cls, value: object) -> object:
        return {} if value is None else value


class RunReceipt(AnswerModel):
    """The answer to asking for a run; of two generations, so nearly all of it may be absent.

    `{run_id, status: "accepted"}` and `{status: "triggered", method, flow_run_id, message}` or
    `{status: "completed", method: "direct", run_id, message}`; of a retry
    `{status: "retry_scheduled", original_run_id}` with or without a `run_id`.
    """

    status: str = ""
    run_id: str | None = None
    method: str | None = None
    message: str | None = None
    flow_run_id: str | None = None
    original_run_id: str | None = None
    warnings: Annotated[list[str], NoneIsEmpty] = Field(default_factory=list)
