"""By which algorithm a client's answers of userinfo are signed; by none where it named none."""

import sqlalchemy as sa
from alembic import op

revision = "1007"
down_revision = "1006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; clients from before have named none."""
    op.add_column("clients", sa.Column("userinfo_signed_response_alg", sa.Text(), nullable=True))
