"""Who is signed in to the console."""

from alembic import op

revision = "1101"
down_revision = "1110"
branch_labels = None
depends_on = None

SPELLED = {"sqlite": "BLOB", "postgresql": "BYTEA"}


def upgrade() -> None:
    """Makes the table."""
    octets = SPELLED[op.get_bind().dialect.name]
    op.execute(
        f"""CREATE TABLE console_sessions (
            session {octets} NOT NULL, used_at BIGINT NOT NULL, expires_at BIGINT NOT NULL,
            claimed_until BIGINT NOT NULL, sealed {octets} NOT NULL,
            CONSTRAINT pk_console_sessions PRIMARY KEY (session)
        )"""
    )
    op.execute("CREATE INDEX ix_console_sessions_expires_at ON console_sessions (expires_at)")
