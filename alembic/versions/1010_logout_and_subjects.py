"""What a client is told when people sign out, and by which names it knows them."""

import sqlalchemy as sa
from alembic import op

revision = "1010"
down_revision = "1020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns; clients from before are told nothing, and know people by the names that all have."""
    for column in (
        sa.Column("post_logout_redirect_uris", sa.Text(), nullable=False, server_default="[]"),
        sa.Column("backchannel_logout_uri", sa.Text(), nullable=True),
        sa.Column("backchannel_logout_session_required", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("subject_type", sa.Text(), nullable=False, server_default="public"),
        sa.Column("sector_identifier_uri", sa.Text(), nullable=True),
    ):
        op.add_column("clients", column)
