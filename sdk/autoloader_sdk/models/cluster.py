"""A Spark cluster that ingestions run on."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from autoloader_sdk.models.base import AnswerModel, NoneIsEmpty
from autoloader_sdk.models.source import MASKED


def without_token(url: str) -> str:
    """A Spark Connect URL whose token, which an older service tells, is masked."""
    return re.sub(r"(;\s*(?:token|authorization)=)[^;]*", rf"\1{MASKED}", url, flags=re.IGNORECASE)


SparkUrl = Annotated[str, AfterValidator(without_token)]


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
    spark_connect_url: SparkUrl | None = None
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
