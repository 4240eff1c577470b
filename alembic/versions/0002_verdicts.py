"""Batches have a verdict: whether the quality rules let them be published, or somebody's word did.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "batches",
        sa.Column(
            "verdict",
            sa.String(length=32),
            nullable=True,
            comment="PASSED, RELEASING, RELEASED: may be published; DROPPED: its files are skipped once it is burned",
        ),
    )
    # Those that are there were never judged, and a worker may be about to publish one.
    op.execute("UPDATE batches SET verdict = 'PASSED'")


def downgrade() -> None:
    # The version before knows no held batches: it would neither load nor forget their files.
    op.execute(
        "UPDATE processed_files SET status = 'PROCESSING', reason = NULL "
        "WHERE status = 'HELD' AND batch_id IN (SELECT id FROM batches WHERE status = 'HELD')"
    )
    op.execute("UPDATE batches SET status = 'OPEN', reason = NULL WHERE status = 'HELD'")
    with op.batch_alter_table("batches", schema=None) as batch_op:
        batch_op.drop_column("verdict")
