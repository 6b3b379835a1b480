"""Which clients know of a browser session, and which of them are still to be told that it ended."""

import sqlalchemy as sa
from alembic import op

revision = "1011"
down_revision = "1010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the tables, which are empty: codes from before do not say until when their session lasts."""
    place = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "session_grants",
        sa.Column("grant_id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("grant_id", name="pk_session_grants"),
    )
    for column in ("session_id", "account_id", "expires_at"):
        op.create_index(f"ix_session_grants_{column}", "session_grants", [column])
    op.create_table(
        "session_ends",
        sa.Column("position", place, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("position", name="pk_session_ends"),
    )
    op.create_table(
        "logout_notices",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("session_id", "client_id", name="pk_logout_notices"),
    )
    op.create_index("ix_logout_notices_due_at", "logout_notices", ["due_at"])
