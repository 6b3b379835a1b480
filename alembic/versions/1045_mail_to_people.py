"""Mail to people that has not been handed on, and the links in it."""

import sqlalchemy as sa
from alembic import op

revision = "1045"
down_revision = "1030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "mailed_links",
        sa.Column("link", sa.LargeBinary(32), nullable=False),
        sa.Column("subject", sa.LargeBinary(32), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("link", name="pk_mailed_links"),
    )
    op.create_index("ix_mailed_links_subject_purpose", "mailed_links", ["subject", "purpose"])
    op.create_index("ix_mailed_links_purpose_made_at", "mailed_links", ["purpose", "made_at"])
    op.create_index("ix_mailed_links_expires_at", "mailed_links", ["expires_at"])
    op.create_table(
        "letters",
        sa.Column("letter_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("letter_id", name="pk_letters"),
    )
    op.create_index("ix_letters_due_at", "letters", ["due_at"])
    op.create_index("ix_letters_account_id", "letters", ["account_id"])
