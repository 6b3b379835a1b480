"""Whose password has a hash that another system made. Nobody's has, of the people who are there already.

Revision ID: 1050
Revises: 1060
"""

import sqlalchemy as sa
from alembic import op

revision = "1050"
down_revision = "1060"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table."""
    op.create_table(
        "foreign_hashes",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("realm", sa.Text(), nullable=False),
        sa.Column("work", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name="pk_foreign_hashes"),
    )
    op.create_index("ix_foreign_hashes_realm_work", "foreign_hashes", ["realm", "work"])
