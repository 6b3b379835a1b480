"""Which clients get access tokens that are bound to a key of theirs alone (RFC 9449 §5.2).

Revision ID: 1021
Revises: 1026
"""

import sqlalchemy as sa
from alembic import op

revision = "1021"
down_revision = "1026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; clients from before may do as they did."""
    column = sa.Column("dpop_bound_access_tokens", sa.Boolean(), server_default=sa.false(), nullable=False)
    op.add_column("clients", column)
