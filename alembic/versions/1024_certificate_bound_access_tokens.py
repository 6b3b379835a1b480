"""Which clients get access tokens that are bound to their certificate (RFC 8705 §3.4).

Revision ID: 1024
Revises: 1027
"""

import sqlalchemy as sa
from alembic import op

revision = "1024"
down_revision = "1027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; clients from before may do as they did."""
    name = "tls_client_certificate_bound_access_tokens"
    op.add_column("clients", sa.Column(name, sa.Boolean(), server_default=sa.false(), nullable=False))
