"""Where the secrets of archived events were issued, in sorted runs of a few bytes each."""

from alembic import op

revision = "1187"
down_revision = "1182"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table; `drop-archived` fills it."""
    octets = "BLOB" if op.get_bind().dialect.name == "sqlite" else "BYTEA"
    op.execute(
        f"CREATE TABLE archived_digests (run BIGINT NOT NULL, key {octets} NOT NULL, entries {octets} NOT NULL, "
        "CONSTRAINT pk_archived_digests PRIMARY KEY (run, key))"
    )
