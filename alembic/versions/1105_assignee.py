"""Who looks after an incident."""

from alembic import op

revision = "1105"
down_revision = "1100"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; incidents so far have nobody."""
    op.execute("ALTER TABLE incidents ADD COLUMN assignee TEXT")
