"""The service itself."""

from autoloader_sdk.models.base import AnswerModel


class ServiceInfo(AnswerModel):
    """The answer of `GET /`."""

    name: str = ""
    version: str = ""
    status: str = ""


class Health(AnswerModel):
    """The answer of `GET /health`."""

    status: str = ""
    database: str | None = None
    #: `running` or `not_started`.
    spark: str | None = None
    #: Runs that this process is at.
    active_runs: int | None = None
