"""People who want to be erased after a while."""

import sqlalchemy as sa
from alembic import op

revision = "1055"
down_revision = "1036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table, which is empty: nobody could ask for it before."""
    op.create_table(
        "erasures",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name="pk_erasures"),
    )
    op.create_index("ix_erasures_due_at", "erasures", ["due_at"])
