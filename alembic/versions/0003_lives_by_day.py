"""What is alive of a secret version is summed by the day in which it ends."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Sums what is there."""
    op.create_table(
        "derived_days",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("secret_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("day", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "secret_id", "kind", "day", name=op.f("pk_derived_days")),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO derived_days SELECT client_id, secret_id, kind, until / 86400, sum(count) FROM derived_lives "
        "GROUP BY client_id, secret_id, kind, until / 86400"
    )
