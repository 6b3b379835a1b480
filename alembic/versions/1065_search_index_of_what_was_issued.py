"""What a secret version was used to issue has rows of its own in the search index, by what it was."""

from alembic import op

revision = "1065"
down_revision = "1031"
branch_labels = None
depends_on = None

# Where there is no log yet, there are no rows to be made anew.
NOTE = """UPDATE projection_versions SET version = 3
    WHERE name = 'event_index' AND NOT EXISTS (SELECT 1 FROM stored_events)"""


def upgrade() -> None:
    """The rows of a log that there is are to be made anew: they tell less."""
    op.execute(NOTE)
