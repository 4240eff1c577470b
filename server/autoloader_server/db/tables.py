"""The tables. Alembic alone makes them (`alembic/versions`); a test holds the two in step.

`processed_files` is the ledger: each file version and its state. `batches` are the units of a load: a fixed set of file
versions under one id, which Iceberg admits once. docs/exactly-once.md tells how they work together.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from autoloader_server.db.tenancy import DEFAULT_TENANT, tenant_of_new_row
from autoloader_server.db.types import Sentence, UtcDateTime, bytewise_text, code

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts only an INTEGER primary key up by itself.
_row_id = BigInteger().with_variant(Integer, "sqlite")


def _tenant() -> Column[str]:
    return Column("tenant_id", String(64), nullable=False, default=tenant_of_new_row, server_default=DEFAULT_TENANT)


ledger = Table(
    "ledger",
    metadata,
    Column("id", String(36), primary_key=True),
    _tenant(),
    Column("created_at", UtcDateTime, nullable=False),
    comment="One row: the identity of this database, written into each table that it loads (autoloader.ledger-id).",
)

ingestions = Table(
    "ingestions",
    metadata,
    Column("id", code(), primary_key=True),
    _tenant(),
    Column("name", String(255), nullable=False),
    Column("status", code(), nullable=False),
    Column("status_reason", Sentence),
    Column("cluster_id", String(255)),
    Column("spec", JSON, nullable=False, comment="the IngestionCreate as it was sent, without credentials"),
    Column("credentials", LargeBinary, comment="encrypted"),
    Column("created_by", String(255)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("deleted_at", UtcDateTime, comment="a tombstone, until its batches are settled or burned"),
    Column("generation", Integer, nullable=False, server_default="0", comment="raised by clear, refresh, delete"),
    Column("table_uuid", String(36)),
    Column("last_snapshot_id", BigInteger, comment="the last one that this ingestion published"),
    Column("schema_version", Integer, nullable=False, server_default="1"),
    Column("last_run_id", String(36)),
    Column("last_run_at", UtcDateTime),
    Column("prefect_deployment_id", String(255)),
    Column("prefect_flow_id", String(255)),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("synced_version", Integer, nullable=False, server_default="0"),
    Index("ix_ingestions_prefect_deployment_id", "prefect_deployment_id"),
    Index("ix_ingestions_tenant_id_name", "tenant_id", "name"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(36), primary_key=True),
    _tenant(),
    Column("ingestion_id", code(), nullable=False),
    Column("status", code(), nullable=False),
    Column("trigger", code(), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("generation", Integer, nullable=False, server_default="0"),
    Column("cancel_requested", Boolean, nullable=False, server_default=text("false")),
    Column("retry_of", String(36), comment="that run's failed files are tried once more"),
    Column("flow_run_id", String(36)),
    Column("spark_job_id", String(255)),
    Column("files_found", BigInteger, nullable=False, server_default="0"),
    Column("files_processed", BigInteger, nullable=False, server_default="0"),
    Column("files_held", BigInteger, nullable=False, server_default="0"),
    Column("files_skipped", BigInteger, nullable=False, server_default="0"),
    Column("files_planned", BigInteger, nullable=False, server_default="0"),
    Column("records_ingested", BigInteger, nullable=False, server_default="0"),
    Column("bytes_read", BigInteger, nullable=False, server_default="0"),
    Column("bytes_written", BigInteger, nullable=False, server_default="0"),
    Column("error_count", BigInteger, nullable=False, server_default="0"),
    Column("columns_ignored", BigInteger, nullable=False, server_default="0"),
    Column("bad_records", BigInteger, nullable=False, server_default="0", comment="rescued or set aside"),
    Column("step", Sentence, comment="what it is doing, for progress"),
    Column("message", Sentence, comment="how it ended, in a sentence"),
    Column("notes", JSON, nullable=False, server_default="[]", comment="what a person should know: sentences"),
    Column("lease_token", String(36)),
    Column("lease_owner", JSON, comment="host, boot id, pid namespace, pid, process start"),
    Column("lease_expires_at", Float, comment="epoch seconds by the database's clock"),
    Index("ix_runs_ingestion_id_created_at", "ingestion_id", "created_at"),
    Index("ix_runs_status", "status"),
    # At most one run waits behind the one that is going.
    Index(
        "uq_runs_queued",
        "ingestion_id",
        unique=True,
        sqlite_where=text("status = 'queued'"),
        postgresql_where=text("status = 'queued'"),
    ),
)

run_errors = Table(
    "run_errors",
    metadata,
    Column("id", _row_id, primary_key=True, autoincrement=True),
    _tenant(),
    Column("run_id", String(36), nullable=False, index=True),
    Column("file", Text),
    Column("error_type", code(), nullable=False),
    Column("message", Sentence, nullable=False),
    Column("timestamp", UtcDateTime, nullable=False),
)

run_logs = Table(
    "run_logs",
    metadata,
    Column("id", _row_id, primary_key=True, autoincrement=True),
    _tenant(),
    Column("run_id", String(36), nullable=False),
    Column("timestamp", UtcDateTime, nullable=False),
    Column("level", code(), nullable=False, comment="info, warning, error"),
    Column("message", Sentence, nullable=False),
    Index("ix_run_logs_run_id_id", "run_id", "id"),
)

batches = Table(
    "batches",
    metadata,
    Column("id", String(36), primary_key=True),
    _tenant(),
    Column("ingestion_id", code(), nullable=False),
    Column("run_id", String(36), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("status", code(), nullable=False, comment="OPEN, LANDED, BURNING, BURNED, HELD"),
    Column("reason", Sentence, comment="why it is burned or held"),
    Column(
        "verdict",
        code(),
        comment="PASSED, RELEASING, RELEASED: may be published; DROPPED: its files are skipped once it is burned",
    ),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column(
        "replaces",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="its rows take the place of those of earlier versions of its files",
    ),
    Column("files", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("table_name", Text, nullable=False, comment="quoted, as Spark takes it"),
    Column("table_uuid", String(36), nullable=False, comment="at claim"),
    Column("base_snapshot_id", BigInteger, nullable=False, comment="main's at claim"),
    Column("staged_snapshot_id", BigInteger),
    Column("published_snapshot_id", BigInteger),
    Column("quarantine_snapshot_id", BigInteger, comment="staged in the quarantine table, before staged_snapshot_id"),
    Column("records", BigInteger),
    Column("bad_records", BigInteger, comment="of its files, found before it was staged; null: none were looked for"),
    Column(
        "counted",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="counts per file are filled in",
    ),
    Column("branches_dropped", Boolean, nullable=False, server_default=text("false")),
    Column("created_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("lease_token", String(36)),
    Column("lease_owner", JSON),
    Column("lease_expires_at", Float),
    Index("ix_batches_ingestion_id_status", "ingestion_id", "status"),
    Index("ix_batches_run_id", "run_id"),
    Index("ix_batches_table_uuid", "table_uuid"),
)

processed_files = Table(
    "processed_files",
    metadata,
    Column("id", _row_id, primary_key=True, autoincrement=True),
    _tenant(),
    Column("ingestion_id", code(), nullable=False),
    Column("path", bytewise_text(), nullable=False),
    Column("ordinal", Integer, nullable=False, server_default="1", comment="counts a path's versions"),
    Column("identity", Text, nullable=False, comment="the path's ETag, or size and modification time"),
    Column("current", Boolean, nullable=False, server_default=text("true"), comment="the path's latest version"),
    Column("status", code(), nullable=False),
    Column("reason", Sentence),
    Column("category", code(), comment="of a failure: data_malformed, schema_mismatch, auth, …"),
    Column("retryable", Boolean, nullable=False, server_default=text("false")),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_attempt_at", UtcDateTime),
    Column("size", BigInteger, nullable=False),
    Column("etag", Text),
    Column("modified_at", UtcDateTime),
    Column("records", BigInteger),
    Column("bad_records", BigInteger),
    Column("run_id", String(36)),
    Column("batch_id", String(36)),
    Column("first_seen_at", UtcDateTime, nullable=False),
    Column("loaded_at", UtcDateTime),
    UniqueConstraint("ingestion_id", "path", "ordinal"),
    Index("ix_processed_files_ingestion_id_status", "ingestion_id", "status"),
    Index("ix_processed_files_batch_id", "batch_id"),
)

schema_versions = Table(
    "schema_versions",
    metadata,
    Column("id", _row_id, primary_key=True, autoincrement=True),
    _tenant(),
    Column("ingestion_id", code(), nullable=False),
    Column("version", Integer, nullable=False),
    Column("detected_at", UtcDateTime, nullable=False),
    Column("schema_json", JSON, nullable=False),
    Column("changes_json", JSON, nullable=False),
    Column("strategy_applied", code(), nullable=False),
    Column("affected_files", JSON, nullable=False),
    UniqueConstraint("ingestion_id", "version"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(36), primary_key=True),
    _tenant(),
    Column("name", String(255), nullable=False),
    Column("scope", code(), nullable=False, comment="read, operate, admin"),
    Column("hash", String(64), nullable=False, comment="SHA-256 of the token: it is random, and nowhere else"),
    Column("parent_id", String(36), comment="the token that it was derived from, and ends with"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
    Column("last_used_at", UtcDateTime, comment="to the minute"),
    UniqueConstraint("hash"),
    Index("ix_tokens_tenant_id_created_at", "tenant_id", "created_at"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("tenant_id", String(64), primary_key=True, default=tenant_of_new_row, server_default=DEFAULT_TENANT),
    Column("key", String(255), primary_key=True),
    Column("request", String(64), nullable=False, comment="a hash of method, path and body"),
    Column("status_code", Integer),
    Column("answer", JSON),
    Column("created_at", UtcDateTime, nullable=False),
)
