"""Which clients are held to a security profile.

Revision ID: 1022
Revises: 1021
"""

import sqlalchemy as sa
from alembic import op

revision = "1022"
down_revision = "1021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; clients from before have none."""
    op.add_column("clients", sa.Column("profile", sa.Text(), nullable=True))
