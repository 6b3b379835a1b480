"""A row of the search index has all positions of its key that were followed together."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What stands there has a position in each row, which is no less right."""
    op.add_column("event_index", sa.Column("before", sa.LargeBinary()))
