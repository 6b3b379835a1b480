"""Which archived events name a grant, in sorted runs of a few bytes each."""

from alembic import op

revision = "1189"
down_revision = "1188"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table; `drop-archived` fills it."""
    octets = "BLOB" if op.get_bind().dialect.name == "sqlite" else "BYTEA"
    op.execute(
        f"CREATE TABLE archived_grants (run BIGINT NOT NULL, key {octets} NOT NULL, entries {octets} NOT NULL, "
        "CONSTRAINT pk_archived_grants PRIMARY KEY (run, key))"
    )
