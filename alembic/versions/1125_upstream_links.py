"""Who is linked to whom at other OpenID providers."""

from alembic import op

revision = "1125"
down_revision = "1101"
branch_labels = None
depends_on = None

BYTES = {"sqlite": "BLOB", "postgresql": "BYTEA"}

TABLE = """
CREATE TABLE upstream_links (
    account_id TEXT NOT NULL, upstream TEXT NOT NULL, realm TEXT NOT NULL, issuer TEXT NOT NULL, sub_index {bytes},
    CONSTRAINT pk_upstream_links PRIMARY KEY (account_id, upstream)
);
CREATE INDEX ix_upstream_links_sub_index ON upstream_links (sub_index)
"""


def upgrade() -> None:
    """Makes the table."""
    for statement in TABLE.format(bytes=BYTES[op.get_bind().dialect.name]).split(";"):
        op.execute(statement)
