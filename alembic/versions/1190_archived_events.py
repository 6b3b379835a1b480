"""What stands for dropped events, packed: their rows by position, and where a stream's are."""

from alembic import op

revision = "1190"
down_revision = "1189"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the tables; `drop-archived` fills them."""
    octets = "BLOB" if op.get_bind().dialect.name == "sqlite" else "BYTEA"
    first = "INTEGER" if op.get_bind().dialect.name == "sqlite" else "BIGINT"
    op.execute(
        f"CREATE TABLE archived_events (first {first} NOT NULL, entries {octets} NOT NULL, "
        "CONSTRAINT pk_archived_events PRIMARY KEY (first))"
    )
    op.execute(
        f"CREATE TABLE archived_streams (run BIGINT NOT NULL, key {octets} NOT NULL, entries {octets} NOT NULL, "
        "CONSTRAINT pk_archived_streams PRIMARY KEY (run, key))"
    )
