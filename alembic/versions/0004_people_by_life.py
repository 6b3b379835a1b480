"""Whose each living token is, is counted by the second, so that a cut-off since a moment leaves the right people."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What is counted is counted anew: the servers follow the log from its beginning."""
    op.create_table(
        "derived_people_lives",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("secret_id", sa.Text(), nullable=False),
        sa.Column("cuts", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("issued", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "client_id",
            "secret_id",
            "cuts",
            "account_id",
            "until",
            "issued",
            name=op.f("pk_derived_people_lives"),
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_derived_people_lives_until"), "derived_people_lives", ["until"], unique=False)
    op.add_column("derived_totals", sa.Column("cuts", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    for table in ("derived_lives", "derived_totals", "derived_people", "derived_days", "sightings"):
        op.execute(f"DELETE FROM {table}")  # noqa: S608 - names of ours
    op.execute("DELETE FROM followers WHERE name = 'derived'")
