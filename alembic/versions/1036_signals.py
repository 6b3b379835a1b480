"""What receivers of security events are still to be told (Shared Signals Framework).

Revision ID: 1036
Revises: 1046
"""

import sqlalchemy as sa
from alembic import op

revision = "1036"
down_revision = "1046"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the tables. What happened before is told to nobody."""
    position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "signal_causes",
        sa.Column("position", position, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_signal_causes"),
    )
    op.create_table(
        "signals",
        sa.Column("jti", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("jti", name="pk_signals"),
    )
    op.create_index("ix_signals_client_id_position", "signals", ["client_id", "position"])
    op.create_index("ix_signals_due_at", "signals", ["due_at"])
