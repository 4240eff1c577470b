"""An ingestion: a configured load."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from autoloader_sdk.models.base import AnswerModel, Moment, NoneIsEmpty, RequestModel, refuse
from autoloader_sdk.models.cluster import SparkUrl
from autoloader_sdk.models.destination import Destination, DestinationData
from autoloader_sdk.models.format import Format, FormatData
from autoloader_sdk.models.quality import Quality, QualityData
from autoloader_sdk.models.schedule import Schedule, ScheduleData
from autoloader_sdk.models.source import Source, SourceData

OnSchemaChange = Literal["ignore", "append_new_columns", "sync_all_columns", "fail"]
OnBadRecord = Literal["fail", "rescue", "quarantine"]

# A batch's files change their state in one transaction, and a longer one would keep leases from being renewed.
MOST_FILES_PER_BATCH = 10_000
MOST_ATTEMPTS = 1_000
# They pass through the worker's memory.
MOST_BAD_RECORDS = 10_000


class Limits(RequestModel):
    """How much one batch may hold, and how often a failed file is tried again.

    `max_bad_records_per_file`: where bad records are rescued or quarantined, a file with more of them fails after all.
    """

    max_files_per_batch: Annotated[int, Field(ge=1, le=MOST_FILES_PER_BATCH)] = MOST_FILES_PER_BATCH
    max_bytes_per_batch: Annotated[int, Field(ge=1)] = 10 * 1024**3
    max_attempts: Annotated[int, Field(ge=1, le=MOST_ATTEMPTS)] = 5
    max_bad_records_per_file: Annotated[int, Field(ge=1, le=MOST_BAD_RECORDS)] = 1_000


class IngestionCreate(RequestModel):
    """The body of `POST /ingestions`: what to load, how it is written, where it goes, when.

    `on_bad_record`: what is done with a record that does not fit the table or cannot be read. `fail` (default): its
    file fails as a whole. `rescue`: its row is kept, with the record's text in a column `_rescued_data` and null where
    a value does not fit. `quarantine`: it is set aside in the table `<table>__quarantine`.
    """

    name: Annotated[str, Field(min_length=1, max_length=255)]
    cluster_id: Annotated[str, Field(min_length=1)] = "default"
    source: Source
    format: Format
    destination: Destination
    schedule: Schedule = Field(default_factory=Schedule)
    quality: Quality | None = None
    on_schema_change: OnSchemaChange | None = None
    on_bad_record: OnBadRecord = "fail"
    limits: Limits | None = None

    @field_validator("name")
    @classmethod
    def _has_a_name(cls, name: str) -> str:
        if not name.strip():
            raise refuse("the name is blank")
        return name

    @field_validator("schedule", mode="before")
    @classmethod
    def _null_is_no_schedule(cls, value: Any) -> Any:
        return {} if value is None else value

    @property
    def effective_on_schema_change(self) -> OnSchemaChange:
        """The rule in force: the one given; append_new_columns with `evolution_enabled`; else ignore."""
        if self.on_schema_change is not None:
            return self.on_schema_change
        evolves = self.format.schema_ is not None and self.format.schema_.evolution_enabled
        return "append_new_columns" if evolves else "ignore"


class IngestionUpdate(RequestModel):
    """The body of `PUT /ingestions/{id}`: only the fields that were given change (`model_fields_set`).

    Of `source` and `format` the fields that are given change, `credentials`, `options` and `schema` each as a whole;
    the service holds the outcome against all rules of an ingestion. What says which files go where cannot change:
    `source.type`, `source.path`, `format.type`, the destination. An older service changes the first four alone.
    """

    status: Literal["draft", "active", "paused"] | None = None
    schedule: Schedule | None = None
    quality: Quality | None = None
    alert_recipients: list[str] | None = None
    cluster_id: Annotated[str, Field(min_length=1)] | None = None
    source: dict[str, Any] | None = Field(default=None, repr=False)
    format: dict[str, Any] | None = None
    on_schema_change: OnSchemaChange | None = None
    on_bad_record: OnBadRecord | None = None
    limits: Limits | None = None


class IngestionMetadata(AnswerModel):
    """What the service found out about an ingestion."""

    checkpoint_location: str | None = None
    last_run_id: str | None = None
    last_run_time: Moment | None = None
    next_run_time: Moment | None = None
    schema_version: int | None = None
    estimated_monthly_cost: float | None = None


class IngestionData(AnswerModel):
    """An ingestion as a service answers it; `status` is draft, active, paused, error, or another."""

    id: str
    tenant_id: str | None = None
    name: str = ""
    status: str = "draft"
    cluster_id: str | None = None
    source: SourceData = Field(default_factory=SourceData)
    format: FormatData = Field(default_factory=FormatData)
    destination: DestinationData = Field(default_factory=DestinationData)
    schedule: ScheduleData | None = None
    quality: QualityData | None = None
    on_schema_change: str | None = None
    on_bad_record: str | None = None
    limits: dict[str, Any] | None = None
    spark_connect_url: SparkUrl | None = None
    metadata: IngestionMetadata = Field(default_factory=IngestionMetadata)
    prefect_deployment_id: str | None = None
    created_at: Moment | None = None
    updated_at: Moment | None = None
    created_by: str | None = None
    warnings: Annotated[list[str], NoneIsEmpty] = Field(default_factory=list)

    @field_validator("metadata", mode="before")
    @classmethod
    def _null_is_nothing_known(cls, value: Any) -> Any:
        return {} if value is None else value


class StatusChange(AnswerModel):
    """The answer of pause and resume."""

    status: str = ""


class ClearedFiles(AnswerModel):
    """The answer of `DELETE /ingestions/{id}/processed-files`."""

    message: str = ""
    files_cleared: int = 0
    ingestion_id: str | None = None
