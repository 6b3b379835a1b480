"""A row of the search index has all positions of its key that were followed together.

The table has another name from here on: a server of the version before, which would find and forget the last of them
only, must not go on with it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What stands there has a position in each row, which is no less right."""
    op.rename_table("event_index", "event_positions")
    op.add_column("event_positions", sa.Column("before", sa.LargeBinary()))
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE event_positions RENAME CONSTRAINT pk_event_index TO pk_event_positions")
        op.execute("ALTER INDEX ix_event_index_addresses RENAME TO ix_event_positions_addresses")
        return
    op.drop_index("ix_event_index_addresses", "event_positions")
    op.create_index("ix_event_positions_addresses", "event_positions", ["position"], sqlite_where=sa.text("kind = 6"))
