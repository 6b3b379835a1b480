"""What is told of people beside their names: sealed claims in their rows."""

import sqlalchemy as sa
from alembic import op

revision = "1005"
down_revision = "1003"
branch_labels = None
depends_on = None

CLAIMS = (
    "given_name",
    "family_name",
    "middle_name",
    "nickname",
    "preferred_username",
    "profile",
    "picture",
    "website",
    "gender",
    "birthdate",
    "zoneinfo",
    "locale",
    "phone_number",
    "address",
    "email_verified",
    "phone_number_verified",
)


# Where there is no log yet, there are no rows to be made anew.
NOTE = """INSERT INTO projection_versions (name, version)
    SELECT 'accounts', 2 WHERE NOT EXISTS (SELECT 1 FROM stored_events)"""


def upgrade() -> None:
    """Gives each claim its column. The rows of a log that there is are to be made anew: they tell since when."""
    for name in CLAIMS:
        op.add_column("accounts", sa.Column(name, sa.Text(), nullable=True))
    op.execute(NOTE)
