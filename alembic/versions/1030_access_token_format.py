"""Which clients get access tokens that resource servers can read by themselves (RFC 9068).

Revision ID: 1030
Revises: 1024
"""

import sqlalchemy as sa
from alembic import op

revision = "1030"
down_revision = "1024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; the tokens of clients from before stay names alone."""
    op.add_column("clients", sa.Column("access_token_format", sa.Text(), server_default="opaque", nullable=False))
