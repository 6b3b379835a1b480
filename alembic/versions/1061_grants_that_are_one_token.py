"""A grant that is one access token has no row but the token's, which says so."""

import sqlalchemy as sa
from alembic import op

revision = "1061"
down_revision = "1065"
branch_labels = None
depends_on = None

# Where there is no log yet, there are no rows to be made anew.
NOTE = """INSERT INTO projection_versions (name, version)
    SELECT name, 2 FROM (SELECT 'grants' AS name UNION ALL SELECT 'tokens') AS made
    WHERE NOT EXISTS (SELECT 1 FROM stored_events)"""


def upgrade() -> None:
    """Adds the column and its index. The rows of a log that there is are to be made anew: those were never alone."""
    op.add_column("tokens", sa.Column("alone", sa.SmallInteger(), server_default="0", nullable=False))
    alone = sa.text("alone = 1")
    op.create_index("ix_tokens_position", "tokens", ["position"], postgresql_where=alone, sqlite_where=alone)
    op.execute(NOTE)
