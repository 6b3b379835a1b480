"""Secrets that were reported and are still to be ended are remembered where a kill does not reach them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """None is waiting yet."""
    op.create_table(
        "reported_secrets",
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("reported_at", sa.BigInteger(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_reported_secrets")),
    )
