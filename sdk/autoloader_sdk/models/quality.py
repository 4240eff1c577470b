"""What is expected of a run, and who hears of it when it is not met."""

from typing import Annotated, Literal

from pydantic import Field

from autoloader_sdk.models.base import AnswerModel, RequestModel


class Quality(RequestModel):
    """`row_count_threshold`: fewer rows than this in a batch (the files that one write loads) are too few.

    `on_low_row_count` says what is done then: `warn` (default) loads them and says so in the run's warnings, `hold`
    keeps the batch back until it is released or dropped.
    """

    row_count_threshold: Annotated[int, Field(ge=0)] | None = None
    on_low_row_count: Literal["warn", "hold"] | None = None
    alerts_enabled: bool | None = None
    alert_recipients: list[str] | None = None


class QualityData(AnswerModel):
    """The quality rules as a service answers them."""

    row_count_threshold: int | None = None
    on_low_row_count: str | None = None
    alerts_enabled: bool | None = None
    alert_recipients: list[str] | None = None
