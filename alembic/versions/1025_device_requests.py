"""What devices ask for and nobody has decided yet (RFC 8628)."""

import sqlalchemy as sa
from alembic import op

revision = "1025"
down_revision = "1015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table."""
    op.create_table(
        "device_requests",
        sa.Column("grant_id", sa.Text(), nullable=False),
        sa.Column("device_code", sa.LargeBinary(32), nullable=False),
        sa.Column("user_code", sa.LargeBinary(32), nullable=False),
        sa.Column("anonymous", sa.SmallInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=True),
        sa.Column("pace", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("grant_id", name="pk_device_requests"),
        sa.UniqueConstraint("device_code", name="uq_device_requests_device_code"),
        sa.UniqueConstraint("user_code", name="uq_device_requests_user_code"),
    )
    op.create_index("ix_device_requests_anonymous_expires_at", "device_requests", ["anonymous", "expires_at"])
