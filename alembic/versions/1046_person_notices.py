"""Events of which a person may have to be told by mail."""

import sqlalchemy as sa
from alembic import op

revision = "1046"
down_revision = "1035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table."""
    position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "person_notices",
        sa.Column("position", position, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_person_notices"),
    )
