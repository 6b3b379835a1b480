"""The head of the log says from which master key the blind indexes come, so that no server writes others."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing is said until a key is retired."""
    op.add_column("log_head", sa.Column("indexed_by", sa.Text()))
