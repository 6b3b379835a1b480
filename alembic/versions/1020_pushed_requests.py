"""Where pushed authorization requests are kept (RFC 9126), and which clients push theirs in any case.

Revision ID: 1020
Revises: 1025
"""

import sqlalchemy as sa
from alembic import op

revision = "1020"
down_revision = "1025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the table and the column; clients from before may do as they did."""
    op.create_table(
        "pushed_requests",
        sa.Column("request_uri", sa.LargeBinary(32), nullable=False),
        sa.Column("anonymous", sa.Boolean(), nullable=False),
        sa.Column("prune_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("request_uri", name="pk_pushed_requests"),
    )
    op.create_index("ix_pushed_requests_prune_at", "pushed_requests", ["prune_at"])
    op.add_column(
        "clients",
        sa.Column("require_pushed_authorization_requests", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
