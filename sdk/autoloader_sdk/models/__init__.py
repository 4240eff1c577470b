"""What travels on the wire, one file a noun; the service uses the same models.

Requests (`IngestionCreate`, `IngestionUpdate`, `RefreshRequest` and their parts) are strict, answers (`…Data`
and the rest) are tolerant: see `base`.
"""

from autoloader_sdk.models.base import AnswerModel, Moment, RequestModel, nearest
from autoloader_sdk.models.batch import BatchData
from autoloader_sdk.models.cluster import ClusterData, ConnectionTest, Pricing
from autoloader_sdk.models.destination import Destination, DestinationData, Optimization, Partitioning
from autoloader_sdk.models.file import FileData, FileStatus, FileVerdict
from autoloader_sdk.models.format import Format, FormatData, FormatOptions, FormatSchema, FormatSchemaData
from autoloader_sdk.models.ingestion import (
    MOST_ATTEMPTS,
    MOST_BAD_RECORDS,
    MOST_FILES_PER_BATCH,
    ClearedFiles,
    IngestionCreate,
    IngestionData,
    IngestionMetadata,
    IngestionUpdate,
    Limits,
    OnBadRecord,
    OnSchemaChange,
    StatusChange,
)
from autoloader_sdk.models.preview import (
    CostBreakdown,
    FilePlan,
    PlanAction,
    PlannedFile,
    PlanPart,
    PreviewColumn,
    PreviewResult,
)
from autoloader_sdk.models.quality import Quality, QualityData
from autoloader_sdk.models.refresh import RefreshImpact, RefreshOperation, RefreshRequest, RefreshStep
from autoloader_sdk.models.run import (
    FINISHED,
    UNENDED,
    RunData,
    RunError,
    RunLogLine,
    RunMetrics,
    RunReceipt,
    RunStatus,
)
from autoloader_sdk.models.schedule import Backfill, Schedule, ScheduleData, cron_fault
from autoloader_sdk.models.schema_version import SchemaChange, SchemaVersion, SchemaVersions
from autoloader_sdk.models.service import Health, ServiceInfo
from autoloader_sdk.models.source import MASKED, OnChangedFile, Source, SourceData, source_type
from autoloader_sdk.models.token import SCOPES, NewToken, Scope, TokenCreate, TokenData

__all__ = [
    "FINISHED",
    "MASKED",
    "MOST_ATTEMPTS",
    "MOST_BAD_RECORDS",
    "MOST_FILES_PER_BATCH",
    "SCOPES",
    "UNENDED",
    "AnswerModel",
    "Backfill",
    "BatchData",
    "ClearedFiles",
    "ClusterData",
    "ConnectionTest",
    "CostBreakdown",
    "Destination",
    "DestinationData",
    "FileData",
    "FilePlan",
    "FileStatus",
    "FileVerdict",
    "Format",
    "FormatData",
    "FormatOptions",
    "FormatSchema",
    "FormatSchemaData",
    "Health",
    "IngestionCreate",
    "IngestionData",
    "IngestionMetadata",
    "IngestionUpdate",
    "Limits",
    "Moment",
    "NewToken",
    "OnBadRecord",
    "OnChangedFile",
    "OnSchemaChange",
    "Optimization",
    "Partitioning",
    "PlanAction",
    "PlanPart",
    "PlannedFile",
    "PreviewColumn",
    "PreviewResult",
    "Pricing",
    "Quality",
    "QualityData",
    "RefreshImpact",
    "RefreshOperation",
    "RefreshRequest",
    "RefreshStep",
    "RequestModel",
    "RunData",
    "RunError",
    "RunLogLine",
    "RunMetrics",
    "RunReceipt",
    "RunStatus",
    "Schedule",
    "ScheduleData",
    "SchemaChange",
    "SchemaVersion",
    "SchemaVersions",
    "Scope",
    "ServiceInfo",
    "Source",
    "SourceData",
    "StatusChange",
    "TokenCreate",
    "TokenData",
    "cron_fault",
    "nearest",
    "source_type",
]
