"""By which the addresses of a month that ended are found among what the search index has of archived events."""

from alembic import op

revision = "1188"
down_revision = "1187"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the index, which is empty until `drop-archived` packs addresses."""
    op.execute("CREATE INDEX ix_archived_positions_addresses ON archived_positions (position) WHERE kind = 6")
