"""Whose tokens a client may exchange. Clients from before may exchange none."""

import sqlalchemy as sa
from alembic import op

revision = "1026"
down_revision = "1016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column."""
    op.add_column("clients", sa.Column("token_exchange", sa.Text(), server_default="[]", nullable=False))
