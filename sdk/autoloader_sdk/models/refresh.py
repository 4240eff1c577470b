"""Loading everything again, or only what is new, into a table made anew."""

from typing import Annotated, Any

from pydantic import Field

from autoloader_sdk.models.base import AnswerModel, Moment, NoneIsEmpty, RequestModel


class RefreshRequest(RequestModel):
    """The body of `POST /ingestions/{id}/refresh/…`; refused unless `confirm` is true."""

    confirm: bool = False
    auto_run: bool = True
    dry_run: bool = False


class RefreshStep(AnswerModel):
    """One operation: table_dropped, processed_files_cleared or run_triggered; success, failed or skipped."""

    operation: str
    status: str = ""
    timestamp: Moment | None = None
    details: dict[str, Any] | None = None
    error: str | None = None
    error_code: str | None = None


class RefreshImpact(AnswerModel):
    """What a refresh means."""

    files_to_process: int = 0
    files_skipped: int | None = 0
    estimated_data_size_gb: float = 0
    estimated_cost_usd: float = 0
    estimated_duration_minutes: float = 0


class RefreshOperation(AnswerModel):
    """The answer of a refresh: accepted, dry_run or partial_failure."""

    status: str = ""
    message: str = ""
    ingestion_id: str | None = None
    run_id: str | None = None
    timestamp: Moment | None = None
    mode: str = ""
    operations: Annotated[list[RefreshStep], NoneIsEmpty] = Field(default_factory=list)
    impact: RefreshImpact = Field(default_factory=RefreshImpact)
    warnings: Annotated[list[str], NoneIsEmpty] = Field(default_factory=list)
    notes: Annotated[list[str], NoneIsEmpty] = Field(default_factory=list)
    would_perform: list[dict[str, Any]] | None = None
    next_steps: dict[str, Any] | None = None
