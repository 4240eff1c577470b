"""A batch may put its rows in the place of those of earlier versions of its files.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "batches",
        sa.Column(
            "replaces",
            sa.Boolean(),
            nullable=False,
            server_default=sa.text("false"),
            comment="its rows take the place of those of earlier versions of its files",
        ),
    )


def downgrade() -> None:
    # The version before would append what is to replace: files of such batches are held, as it holds changed files.
    op.execute(
        "UPDATE processed_files SET status = 'HELD', batch_id = NULL, reason = 'changed after it was loaded' "
        "WHERE status IN ('PROCESSING', 'HELD') AND batch_id IN "
        "(SELECT id FROM batches WHERE replaces AND status IN ('OPEN', 'BURNING', 'HELD'))"
    )
    op.execute(
        "UPDATE processed_files SET status = 'HELD', reason = 'changed after it was loaded' "
        "WHERE current AND status IN ('DISCOVERED', 'FAILED') AND EXISTS "
        "(SELECT 1 FROM processed_files older WHERE older.ingestion_id = processed_files.ingestion_id "
        "AND older.path = processed_files.path AND older.loaded_at IS NOT NULL)"
    )
    op.execute(
        "UPDATE batches SET status = 'BURNED', branches_dropped = false "
        "WHERE replaces AND status IN ('OPEN', 'BURNING', 'HELD')"
    )
    with op.batch_alter_table("batches", schema=None) as batch_op:
        batch_op.drop_column("replaces")
