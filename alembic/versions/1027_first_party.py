"""Which clients are applications of our own, which may ask people for their password. None of those from before."""

import sqlalchemy as sa
from alembic import op

revision = "1027"
down_revision = "1023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column."""
    op.add_column("clients", sa.Column("first_party", sa.Boolean(), server_default=sa.false(), nullable=False))
