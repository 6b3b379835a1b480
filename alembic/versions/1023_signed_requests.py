"""By what a client's authorization requests and the answers to them are signed (RFC 9101, JARM).

Revision ID: 1023
Revises: 1022
"""

import sqlalchemy as sa
from alembic import op

revision = "1023"
down_revision = "1022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns; clients from before sign nothing in any case, and have named no algorithm."""
    column = sa.Column("require_signed_request_object", sa.Boolean(), server_default=sa.false(), nullable=False)
    op.add_column("clients", column)
    op.add_column("clients", sa.Column("request_object_signing_alg", sa.Text(), nullable=True))
    op.add_column("clients", sa.Column("authorization_signed_response_alg", sa.Text(), nullable=True))
