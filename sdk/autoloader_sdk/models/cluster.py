"""A Spark cluster that ingestions run on."""

from typing import Annotated

from pydantic import Field

from autoloader_sdk.models.base import AnswerModel, NoneIsEmpty


class Pricing(AnswerModel):
    """`dbu_rate`: US dollars for one unit of work and hour."""

    dbu_rate: float | None = None


class ClusterData(AnswerModel):
    """A cluster as a service answers it."""

    id: str
    name: str = ""
    status: str = ""
    workers: int | None = None
    dbu_per_worker: float | None = None
    spark_connect_url: str | None = None
    pricing: Pricing | None = Field(default=None)
    catalog: str | None = None


class ConnectionTest(AnswerModel):
    """The answer of `POST /clusters/{id}/test-connection`; `missing` are sentences on what the cluster lacks."""

    status: str = ""
    cluster_id: str | None = None
    spark_version: str | None = None
    available_memory_gb: float | None = None
    message: str | None = None
    catalog: str | None = None
    iceberg_version: str | None = None
    missing: Annotated[list[str], NoneIsEmpty] = Field(default_factory=list)
