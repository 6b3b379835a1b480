"""PostgreSQL finds the counts of a stretch of time by an index that has nothing else."""

from alembic import op

revision = "1165"
down_revision = "1120"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the index. On SQLite the table lies in the order of its key already."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE INDEX ix_event_counts_seconds_since ON event_counts (seconds, since)")
