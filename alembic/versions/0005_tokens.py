"""Tokens, and keys of idempotency for each tenant.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False, server_default="default"),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("scope", sa.String(32), nullable=False, comment="read, operate, admin"),
        sa.Column(
            "hash", sa.String(64), nullable=False, comment="SHA-256 of the token: it is random, and nowhere else"
        ),
        sa.Column("parent_id", sa.String(36), comment="the token that it was derived from, and ends with"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.Column("last_used_at", sa.DateTime(timezone=True), comment="to the minute"),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("hash", name="uq_tokens_hash"),
    )
    op.create_index("ix_tokens_tenant_id_created_at", "tokens", ["tenant_id", "created_at"])
    _key_by("tenant_id", "key")


def downgrade() -> None:
    # Of two tenants' keys that are alike one would do for both: they are forgotten, as after 24 hours.
    op.execute("DELETE FROM idempotency_keys WHERE tenant_id <> 'default'")
    _key_by("key")
    op.drop_index("ix_tokens_tenant_id_created_at", table_name="tokens")
    op.drop_table("tokens")


def _key_by(*columns: str) -> None:
    with op.batch_alter_table("idempotency_keys", schema=None) as batch_op:
        batch_op.drop_constraint("pk_idempotency_keys", type_="primary")
        batch_op.create_primary_key("pk_idempotency_keys", list(columns))
