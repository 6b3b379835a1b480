"""How a client registered itself, and what clients were refused lately. Clients from before were registered by others.

Revision ID: 1016
Revises: 1011
"""

import sqlalchemy as sa
from alembic import op

revision = "1016"
down_revision = "1011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column and the table."""
    op.add_column("clients", sa.Column("self_registered", sa.Text(), nullable=True))
    op.create_table(
        "client_refusals",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("client_id", "number", name="pk_client_refusals"),
        sqlite_with_rowid=False,
    )
