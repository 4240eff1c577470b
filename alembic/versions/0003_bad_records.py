"""Bad records are counted, and a batch may have some that are set aside in a second table.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "runs",
        sa.Column("bad_records", sa.BigInteger(), nullable=False, server_default="0", comment="rescued or set aside"),
    )
    op.add_column(
        "batches",
        sa.Column(
            "quarantine_snapshot_id",
            sa.BigInteger(),
            nullable=True,
            comment="staged in the quarantine table, before staged_snapshot_id",
        ),
    )
    op.add_column(
        "batches",
        sa.Column(
            "bad_records",
            sa.BigInteger(),
            nullable=True,
            comment="of its files, found before it was staged; null: none were looked for",
        ),
    )
    op.add_column("processed_files", sa.Column("bad_records", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    # The version before would publish good rows, and know nothing of those that are to be set aside.
    op.execute(
        "UPDATE batches SET staged_snapshot_id = NULL WHERE bad_records IS NOT NULL AND status IN ('OPEN', 'HELD')"
    )
    with op.batch_alter_table("processed_files", schema=None) as batch_op:
        batch_op.drop_column("bad_records")
    with op.batch_alter_table("batches", schema=None) as batch_op:
        batch_op.drop_column("bad_records")
        batch_op.drop_column("quarantine_snapshot_id")
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_column("bad_records")
