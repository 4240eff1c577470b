"""What is expected of a run, and who hears of it when it is not met."""

from typing import Annotated

from pydantic import Field

from autoloader_sdk.models.base import AnswerModel, RequestModel


class Quality(RequestModel):
    """`row_count_threshold`: fewer rows than this in a run is worth an alert."""

    row_count_threshold: Annotated[int, Field(ge=0)] | None = None
    alerts_enabled: bool | None = None
    alert_recipients: list[str] | None = None


class QualityData(AnswerModel):
    """The quality rules as a service answers them."""

    row_count_threshold: int | None = None
    alerts_enabled: bool | None = None
    alert_recipients: list[str] | None = None
