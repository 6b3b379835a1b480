"""Which types of authorization details clients may ask for (RFC 9396).

Revision ID: 1031
Revises: 1055
"""

import sqlalchemy as sa
from alembic import op

revision = "1031"
down_revision = "1055"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; clients from before may ask for none."""
    op.add_column("clients", sa.Column("authorization_details_types", sa.Text(), server_default="[]", nullable=False))
