"""What a load would see and cost, before it is paid for."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from autoloader_sdk.models.base import AnswerModel, Moment, NoneIsEmpty


class PreviewColumn(AnswerModel):
    """One column as the data has it; `is_new`: the table does not have it yet."""

    name: str
    data_type: str = ""
    nullable: bool = True
    is_new: bool = False


class PlanAction(StrEnum):
    """What a run would do about a file."""

    LOAD = "load"
    """Load it, unless something in it is found to be bad."""
    SKIP = "skip"
    """Leave it out: it is in the table, no data, or not to be tried now."""
    HOLD = "hold"
    """Hold it back until somebody decides."""
    FAIL = "fail"
    """Report it: it cannot be read."""


class PlannedFile(AnswerModel):
    """What a run would do about one file (`action`, a `PlanAction`), and why; `size` is in bytes."""

    path: str
    action: str = ""
    reason: str = ""
    detail: str | None = None
    size: int | None = None
    etag: str | None = None
    modified_at: Moment | None = None


class PlanPart(AnswerModel):
    """Files of which the same would be done for the same reason: how many, and their bytes."""

    action: str = ""
    reason: str = ""
    files: int = 0
    bytes: int = 0


class FilePlan(AnswerModel):
    """What a run that starts now would do about each file: counts by action, and by reason, and some files of each.

    `files` has the first of each action; `truncated` says that there are more.
    """

    load: int = 0
    load_bytes: int = 0
    skip: int = 0
    hold: int = 0
    fail: int = 0
    parts: Annotated[list[PlanPart], NoneIsEmpty] = Field(default_factory=list)
    files: Annotated[list[PlannedFile], NoneIsEmpty] = Field(default_factory=list, repr=False)
    truncated: bool = False

    def __str__(self) -> str:
        from autoloader_sdk.notebook.previews import plan_text

        return plan_text(self)

    def _repr_html_(self) -> str:
        from autoloader_sdk.notebook.previews import plan_html

        return plan_html(self)


class PreviewResult(AnswerModel):
    """What would be loaded, of an ingestion that is there or of one that could be made; nothing is saved.

    `plan` is None where the service is an older one.
    """

    schema_: Annotated[list[PreviewColumn], NoneIsEmpty] = Field(default_factory=list, alias="schema")
    sample_data: Annotated[list[str], NoneIsEmpty] = Field(default_factory=list)
    file_count: int = 0
    estimated_records: int | None = 0
    warnings: Annotated[list[str], NoneIsEmpty] = Field(default_factory=list)
    plan: FilePlan | None = None

    def __str__(self) -> str:
        from autoloader_sdk.notebook.previews import preview_text

        return preview_text(self)

    def _repr_html_(self) -> str:
        from autoloader_sdk.notebook.previews import preview_html

        return preview_html(self)


class CostBreakdown(AnswerModel):
    """The answer of `POST /ingestions/estimate-cost`, in US dollars."""

    compute_per_run: float = 0
    compute_monthly: float = 0
    storage_monthly: float = 0
    discovery_monthly: float = 0
    total_monthly: float = 0
    breakdown_details: dict[str, Any] = Field(default_factory=dict)
