"""Which processes serve the log, and of which revision a server must be at least."""

from alembic import op

revision = "1120"
down_revision = "1125"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes both tables."""
    op.execute(
        "CREATE TABLE nodes (node_id TEXT NOT NULL, feature_level INTEGER NOT NULL, seen_at BIGINT NOT NULL, "
        "CONSTRAINT pk_nodes PRIMARY KEY (node_id))"
    )
    op.execute(
        "CREATE TABLE schema_floor (id SMALLINT NOT NULL, revision TEXT NOT NULL, "
        "CONSTRAINT pk_schema_floor PRIMARY KEY (id))"
    )
    op.execute("INSERT INTO schema_floor (id, revision) VALUES (1, '1120')")
