"""What a load would see and cost, before it is paid for."""

from typing import Annotated, Any

from pydantic import Field

from autoloader_sdk.models.base import AnswerModel, NoneIsEmpty


class PreviewColumn(AnswerModel):
    """One column as the data has it; `is_new`: the table does not have it yet."""

    name: str
    data_type: str = ""
    nullable: bool = True
    is_new: bool = False


class PreviewResult(AnswerModel):
    """The answer of `POST /ingestions/test`; nothing is saved."""

    schema_: Annotated[list[PreviewColumn], NoneIsEmpty] = Field(default_factory=list, alias="schema")
    sample_data: Annotated[list[str], NoneIsEmpty] = Field(default_factory=list)
    file_count: int = 0
    estimated_records: int | None = 0
    warnings: Annotated[list[str], NoneIsEmpty] = Field(default_factory=list)

    def __str__(self) -> str:
        from autoloader_sdk.notebook.display import preview_text

        return preview_text(self)

    def _repr_html_(self) -> str:
        from autoloader_sdk.notebook.display import preview_html

        return preview_html(self)


class CostBreakdown(AnswerModel):
    """The answer of `POST /ingestions/estimate-cost`, in US dollars."""

    compute_per_run: float = 0
    compute_monthly: float = 0
    storage_monthly: float = 0
    discovery_monthly: float = 0
    total_monthly: float = 0
    breakdown_details: dict[str, Any] = Field(default_factory=dict)
