"""A log that begins has requests in its search index by the moments that their ids begin with.

One that has events keeps its rows, so that older nodes go on beside newer ones; a rebuild of `event_index` changes it.
"""

from alembic import op

revision = "1173"
down_revision = "1165"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Notes it where nothing is indexed yet."""
    op.execute(
        "INSERT INTO projection_versions (name, version)"
        " SELECT 'event_index.requests', 1 FROM log_head WHERE position = 0"
    )
