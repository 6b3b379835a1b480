"""Tokens stand in the order of their issue on SQLite too; the index of people's grants holds no other grants."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Changes how rows are kept; every row stays as it is."""
    if op.get_bind().dialect.name == "sqlite":
        _tokens_in_order()
    op.drop_index(op.f("ix_grants_account_id_started_position"), table_name="grants")
    theirs = sa.text("account_id IS NOT NULL")
    op.create_index(
        op.f("ix_grants_account_id_started_position"),
        "grants",
        ["account_id", "started_position"],
        unique=False,
        postgresql_where=theirs,
        sqlite_where=theirs,
    )


def _tokens_in_order() -> None:
    """SQLite cannot turn a table that is sorted by its key into one that is not: it is copied."""
    op.create_table(
        "tokens_in_order",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("grant_id", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("secret_id", sa.Text(), nullable=True),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("prune_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_position", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_tokens")),
    )
    op.execute("INSERT INTO tokens_in_order SELECT * FROM tokens ORDER BY position")
    op.drop_table("tokens")
    op.rename_table("tokens_in_order", "tokens")
    op.create_index(op.f("ix_tokens_prune_at"), "tokens", ["prune_at"], unique=False)
