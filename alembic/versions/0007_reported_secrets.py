"""Secrets that were reported and are still to be ended are remembered where a kill does not reach them.

Uses of secrets by people who were erased are counted again, without the people.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """None is waiting yet. What follows the log about leaks follows it from its beginning, as by revision 0004."""
    op.create_table(
        "reported_secrets",
        sa.Column("report_id", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("digests", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("report_id", name=op.f("pk_reported_secrets")),
    )
    counted = ("derived_lives", "derived_totals", "derived_people", "derived_people_lives", "derived_days", "sightings")
    for table in counted:
        op.execute(f"DELETE FROM {table}")  # noqa: S608 - names of ours
    op.execute("DELETE FROM followers WHERE name = 'derived'")
