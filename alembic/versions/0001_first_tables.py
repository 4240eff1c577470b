"""First tables.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "batches",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), server_default="default", nullable=False),
        sa.Column("ingestion_id", sa.String(length=32), nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False, comment="OPEN, LANDED, BURNING, BURNED, HELD"),
        sa.Column("reason", sa.Text(), nullable=True, comment="why it is burned or held"),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False, comment="quoted, as Spark takes it"),
        sa.Column("table_uuid", sa.String(length=36), nullable=False, comment="at claim"),
        sa.Column("base_snapshot_id", sa.BigInteger(), nullable=False, comment="main's at claim"),
        sa.Column("staged_snapshot_id", sa.BigInteger(), nullable=True),
        sa.Column("published_snapshot_id", sa.BigInteger(), nullable=True),
        sa.Column("records", sa.BigInteger(), nullable=True),
        sa.Column(
            "counted",
            sa.Boolean(),
            server_default=sa.text("(false)"),
            nullable=False,
            comment="counts per file are filled in",
        ),
        sa.Column("branches_dropped", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.String(length=36), nullable=True),
        sa.Column("lease_owner", sa.JSON(), nullable=True),
        sa.Column("lease_expires_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    with op.batch_alter_table("batches", schema=None) as batch_op:
        batch_op.create_index("ix_batches_ingestion_id_status", ["ingestion_id", "status"], unique=False)
        batch_op.create_index("ix_batches_run_id", ["run_id"], unique=False)
        batch_op.create_index("ix_batches_table_uuid", ["table_uuid"], unique=False)

    op.create_table(
        "idempotency_keys",
        sa.Column("tenant_id", sa.String(length=64), server_default="default", nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("request", sa.String(length=64), nullable=False, comment="a hash of method, path and body"),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("answer", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_idempotency_keys")),
    )
    op.create_table(
        "ingestions",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), server_default="default", nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("cluster_id", sa.String(length=255), nullable=True),
        sa.Column("spec", sa.JSON(), nullable=False, comment="the IngestionCreate as it was sent, without credentials"),
        sa.Column("credentials", sa.LargeBinary(), nullable=True, comment="encrypted"),
        sa.Column("created_by", sa.String(length=255), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "deleted_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="a tombstone, until its batches are settled or burned",
        ),
        sa.Column(
            "generation", sa.Integer(), server_default="0", nullable=False, comment="raised by clear, refresh, delete"
        ),
        sa.Column("table_uuid", sa.String(length=36), nullable=True),
        sa.Column(
            "last_snapshot_id", sa.BigInteger(), nullable=True, comment="the last one that this ingestion published"
        ),
        sa.Column("schema_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("last_run_id", sa.String(length=36), nullable=True),
        sa.Column("last_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("prefect_deployment_id", sa.String(length=255), nullable=True),
        sa.Column("prefect_flow_id", sa.String(length=255), nullable=True),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("synced_version", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ingestions")),
    )
    with op.batch_alter_table("ingestions", schema=None) as batch_op:
        batch_op.create_index("ix_ingestions_prefect_deployment_id", ["prefect_deployment_id"], unique=False)
        batch_op.create_index("ix_ingestions_tenant_id_name", ["tenant_id", "name"], unique=False)

    op.create_table(
        "ledger",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), server_default="default", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger")),
        comment="One row: the identity of this database, written into each table that it loads (autoloader.ledger-id).",
    )
    op.create_table(
        "processed_files",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("tenant_id", sa.String(length=64), server_default="default", nullable=False),
        sa.Column("ingestion_id", sa.String(length=32), nullable=False),
        sa.Column("path", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("ordinal", sa.Integer(), server_default="1", nullable=False, comment="counts a path's versions"),
        sa.Column("identity", sa.Text(), nullable=False, comment="the path's ETag, or size and modification time"),
        sa.Column(
            "current",
            sa.Boolean(),
            server_default=sa.text("(true)"),
            nullable=False,
            comment="the path's latest version",
        ),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "category",
            sa.String(length=32),
            nullable=True,
            comment="of a failure: data_malformed, schema_mismatch, auth, …",
        ),
        sa.Column("retryable", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("records", sa.BigInteger(), nullable=True),
        sa.Column("run_id", sa.String(length=36), nullable=True),
        sa.Column("batch_id", sa.String(length=36), nullable=True),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_processed_files")),
        sa.UniqueConstraint(
            "ingestion_id", "path", "ordinal", name=op.f("uq_processed_files_ingestion_id_path_ordinal")
        ),
    )
    with op.batch_alter_table("processed_files", schema=None) as batch_op:
        batch_op.create_index("ix_processed_files_batch_id", ["batch_id"], unique=False)
        batch_op.create_index("ix_processed_files_ingestion_id_status", ["ingestion_id", "status"], unique=False)

    op.create_table(
        "run_errors",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("tenant_id", sa.String(length=64), server_default="default", nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("file", sa.Text(), nullable=True),
        sa.Column("error_type", sa.String(length=32), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_errors")),
    )
    with op.batch_alter_table("run_errors", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_run_errors_run_id"), ["run_id"], unique=False)

    op.create_table(
        "runs",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), server_default="default", nullable=False),
        sa.Column("ingestion_id", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("trigger", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("generation", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column(
            "retry_of", sa.String(length=36), nullable=True, comment="that run's failed files are tried once more"
        ),
        sa.Column("flow_run_id", sa.String(length=36), nullable=True),
        sa.Column("spark_job_id", sa.String(length=255), nullable=True),
        sa.Column("files_found", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("files_processed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("files_held", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("files_skipped", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("files_planned", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("records_ingested", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bytes_read", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bytes_written", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("error_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("columns_ignored", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("step", sa.Text(), nullable=True, comment="what it is doing, for progress"),
        sa.Column("message", sa.Text(), nullable=True, comment="how it ended, in a sentence"),
        sa.Column(
            "notes", sa.JSON(), server_default="[]", nullable=False, comment="what a person should know: sentences"
        ),
        sa.Column("lease_token", sa.String(length=36), nullable=True),
        sa.Column("lease_owner", sa.JSON(), nullable=True, comment="host, boot id, pid namespace, pid, process start"),
        sa.Column("lease_expires_at", sa.Float(), nullable=True, comment="epoch seconds by the database's clock"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.create_index("ix_runs_ingestion_id_created_at", ["ingestion_id", "created_at"], unique=False)
        batch_op.create_index("ix_runs_status", ["status"], unique=False)
        batch_op.create_index(
            "uq_runs_queued",
            ["ingestion_id"],
            unique=True,
            sqlite_where=sa.text("status = 'queued'"),
            postgresql_where=sa.text("status = 'queued'"),
        )

    op.create_table(
        "schema_versions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("tenant_id", sa.String(length=64), server_default="default", nullable=False),
        sa.Column("ingestion_id", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("detected_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("schema_json", sa.JSON(), nullable=False),
        sa.Column("changes_json", sa.JSON(), nullable=False),
        sa.Column("strategy_applied", sa.String(length=32), nullable=False),
        sa.Column("affected_files", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schema_versions")),
        sa.UniqueConstraint("ingestion_id", "version", name=op.f("uq_schema_versions_ingestion_id_version")),
    )


def downgrade() -> None:
    op.drop_table("schema_versions")
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_runs_queued", sqlite_where=sa.text("status = 'queued'"), postgresql_where=sa.text("status = 'queued'")
        )
        batch_op.drop_index("ix_runs_status")
        batch_op.drop_index("ix_runs_ingestion_id_created_at")

    op.drop_table("runs")
    with op.batch_alter_table("run_errors", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_run_errors_run_id"))

    op.drop_table("run_errors")
    with op.batch_alter_table("processed_files", schema=None) as batch_op:
        batch_op.drop_index("ix_processed_files_ingestion_id_status")
        batch_op.drop_index("ix_processed_files_batch_id")

    op.drop_table("processed_files")
    op.drop_table("ledger")
    with op.batch_alter_table("ingestions", schema=None) as batch_op:
        batch_op.drop_index("ix_ingestions_tenant_id_name")
        batch_op.drop_index("ix_ingestions_prefect_deployment_id")

    op.drop_table("ingestions")
    op.drop_table("idempotency_keys")
    with op.batch_alter_table("batches", schema=None) as batch_op:
        batch_op.drop_index("ix_batches_table_uuid")
        batch_op.drop_index("ix_batches_run_id")
        batch_op.drop_index("ix_batches_ingestion_id_status")

    op.drop_table("batches")
