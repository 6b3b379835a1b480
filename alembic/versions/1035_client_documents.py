"""Client ID metadata documents: where a client's is, and what was fetched lately. Clients from before have none.

Revision ID: 1035
Revises: 1050
"""

import sqlalchemy as sa
from alembic import op

revision = "1035"
down_revision = "1050"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column and the table."""
    op.add_column("clients", sa.Column("metadata_uri", sa.Text(), nullable=True))
    op.create_table(
        "client_documents",
        sa.Column("sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("fresh_until", sa.BigInteger(), nullable=False),
        sa.Column("prune_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("sha256", name="pk_client_documents"),
    )
    op.create_index("ix_client_documents_prune_at", "client_documents", ["prune_at"])
