"""By which algorithm a client's id_tokens are signed. Clients from before have what a client has that named none.

Revision ID: 1006
Revises: 1005
"""

import sqlalchemy as sa
from alembic import op

revision = "1006"
down_revision = "1005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "clients", sa.Column("id_token_signed_response_alg", sa.Text(), server_default="RS256", nullable=False)
    )


def downgrade() -> None:
    op.drop_column("clients", "id_token_signed_response_alg")
