"""Clients' keys, and the identifiers of what they signed, each of which is taken once. Clients from before have none.

Revision ID: 1015
Revises: 1007
"""

import sqlalchemy as sa
from alembic import op

revision = "1015"
down_revision = "1007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns and tables."""
    op.add_column("clients", sa.Column("token_endpoint_auth_signing_alg", sa.Text(), nullable=True))
    op.add_column("clients", sa.Column("keys", sa.Text(), server_default="{}", nullable=False))
    op.create_table(
        "used_ids",
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("holder", "sha256", name="pk_used_ids"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_used_ids_until", "used_ids", ["until"])
    op.create_table(
        "used_id_counts",
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("holder", name="pk_used_id_counts"),
    )
