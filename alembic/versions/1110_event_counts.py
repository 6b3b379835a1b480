"""How many events there were, by minute, hour and day."""

from alembic import op

revision = "1110"
down_revision = "1105"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table; servers fill it from the log's beginning."""
    without_rowid = " WITHOUT ROWID" if op.get_bind().dialect.name == "sqlite" else ""
    op.execute(
        "CREATE TABLE event_counts ("
        "seconds INTEGER NOT NULL, since BIGINT NOT NULL, type TEXT NOT NULL, grant_type TEXT NOT NULL, "
        "client_id TEXT NOT NULL, events BIGINT NOT NULL, "
        "CONSTRAINT pk_event_counts PRIMARY KEY (seconds, since, type, grant_type, client_id))" + without_rowid
    )
