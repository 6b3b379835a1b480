"""What the search index has of archived events, in rows that are wider."""

from alembic import op

revision = "1182"
down_revision = "1173"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table; `drop-archived` fills it."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    octets, without_rowid = ("BLOB", " WITHOUT ROWID") if sqlite else ("BYTEA", "")
    op.execute(
        "CREATE TABLE archived_positions ("
        f"kind SMALLINT NOT NULL, key {octets} NOT NULL, position BIGINT NOT NULL, before {octets}, "
        "CONSTRAINT pk_archived_positions PRIMARY KEY (kind, key, position))" + without_rowid
    )
