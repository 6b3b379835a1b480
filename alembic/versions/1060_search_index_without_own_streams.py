"""What stands in a grant's own stream is found there, and has no row in the search index any more."""

from alembic import op

revision = "1060"
down_revision = "1045"
branch_labels = None
depends_on = None

# Where there is no log yet, there are no rows to be made anew.
NOTE = """INSERT INTO projection_versions (name, version)
    SELECT 'event_index', 2 WHERE NOT EXISTS (SELECT 1 FROM stored_events)"""


def upgrade() -> None:
    """The rows of a log that there is are to be made anew: they tell since when."""
    op.execute(NOTE)
